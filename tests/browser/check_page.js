// Nothing wider than the window; text of at least 4.5:1 (3:1 where large) against what is behind it; every control
// with a name that a screen reader says. Looks at the workspace's own part of a page; answers what is wrong.
() => {
  const problems = [];
  const excess = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (excess > 0) problems.push(`${excess} px wider than the window`);
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const luminance = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => { for (let each = element; each; each = each.parentElement) { const found = rgba(getComputedStyle(each).backgroundColor); if (found[3] === 255) return found; } return [255, 255, 255, 255]; };
  const hidden = (element) => !element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }) || element.closest(".fs-visually-hidden");
  for (const element of document.querySelectorAll(".fs *")) {
    const text = [...element.childNodes].filter((each) => each.nodeType === 3).map((each) => each.textContent.trim()).join("");
    if (!text || hidden(element) || element.closest("svg, option, [disabled], noscript")) continue;
    const style = getComputedStyle(element);
    const [a, b] = [luminance(rgba(style.color)), luminance(behind(element))].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < (isLarge ? 3 : 4.5)) problems.push(`contrast ${ratio.toFixed(2)}: ${text.slice(0, 40)}`);
  }
  for (const control of document.querySelectorAll(".fs input:not([type=hidden]), .fs select, .fs textarea, .fs button, .fs a[href]")) {
    if (hidden(control)) continue;
    const name = control.getAttribute("aria-label") || control.labels?.[0]?.textContent || control.textContent || control.title || control.getAttribute("aria-labelledby");
    if (!name?.trim()) problems.push(`no name: ${control.outerHTML.slice(0, 90)}`);
  }
  for (const picture of document.querySelectorAll(".fs svg[role]")) if (!picture.getAttribute("aria-label")) problems.push("a picture without words");
  return [...new Set(problems)];
}
