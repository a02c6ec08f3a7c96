"""django_prometheus's figures of requests, under its names, for a fraction of its time.

It looks up each of ten time series by its labels at every request, several of them twice. Here those of one kind of
request (view, method, transport, answer) are looked up when the first of that kind comes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django_prometheus.middleware import PrometheusAfterMiddleware
from django_prometheus.utils import Time, TimeSince

_Kind = tuple[str, str, str, bool, str, str]


class RequestMetricsMiddleware(PrometheusAfterMiddleware):
    """In place of PrometheusAfterMiddleware, whose counting of exceptions and templates it keeps."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        super().__init__(get_response)
        self._series: dict[_Kind, tuple[list[Any], Any]] = {}

    def process_request(self, request: HttpRequest) -> None:
        request.prometheus_after_middleware_event = Time()

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> None:
        """Counted with the answer."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        kind = (
            self._method(request),
            self._transport(request),
            self._get_view_name(request),
            request.resolver_match is not None,
            str(response.status_code),
            str(getattr(response, "charset", "")),
        )
        known = self._series.get(kind)
        if known is None:
            known = self._series[kind] = self._series_of(*kind)
        counters, latency = known
        for counter in counters:
            counter.inc()
        metrics = self.metrics
        metrics.requests_body_bytes.observe(int(request.META.get("CONTENT_LENGTH") or 0))
        if request.META.get("HTTP_X_REQUESTED_WITH") == "XMLHttpRequest":
            metrics.requests_ajax.inc()
        if response.streaming:
            metrics.responses_streaming.inc()
        else:
            metrics.responses_body_bytes.observe(len(response.content))
        latency.observe(TimeSince(request.prometheus_after_middleware_event))
        return response

    def _series_of(
        self, method: str, transport: str, view: str, is_resolved: bool, status: str, charset: str
    ) -> tuple[list[Any], Any]:
        """What counts one more of its kind, and what takes its time."""
        metrics = self.metrics
        counters = [
            metrics.requests_by_method.labels(method=method),
            metrics.requests_by_transport.labels(transport=transport),
            metrics.responses_by_status.labels(status=status),
            metrics.responses_by_status_view_method.labels(status=status, view=view, method=method),
            metrics.responses_by_charset.labels(charset=charset),
        ]
        if is_resolved:
            counters.append(
                metrics.requests_by_view_transport_method.labels(
                    view=view, transport=transport, method=method
                )
            )
        return counters, metrics.requests_latency_by_view_method.labels(view=view, method=method)
