-- Velocity counters over sorted sets. docs/velocity.md explains the structures; store.py is the only caller.
--
-- A counter keeps the events of one feature and group value. Three kinds:
--   tree      count, sums, sums of squares, minimum, maximum: events in chunks of running totals (below)
--   distinct  the last time each value was seen, beside a log of all
--   log       the events themselves, for functions that must look at each (bounded by the caller)
-- Every counter has a hash `<key>:h` whose field `m` (meta) says from which event time on it is complete (`floor`,
-- -1: from the beginning, LOADING: being filled). A counter without meta is unknown, never zero.
--
-- tree: members of the sorted set `<key>` have the event time (us) as score and, packed, the arrival, a chunk id,
-- the number of events and the column totals from the start of the chunk up to this event. A chunk's header
-- `c<id>` holds the totals before it within its superchunk, `b<id>` the totals before a superchunk. A window is
-- the difference of two lookups of three keys each, whatever lies between them; a late event rewrites the rest of
-- one chunk and the headers after it, never more than about 2 * CHUNK members, 2 * CHUNK headers and n / CHUNK^2
-- superchunks. Columns are limbs of base CARRY, lowest first: doubles hold integers up to 2^53 only.

local CHUNK = 64
local CARRY = 1e11
local LOADING = 9e15
local HOLD_MS = 60000
-- What was counted this recently may not be in the database yet, and trimmed it could not be filled back in from there.
local IN_FLIGHT_US = 60000000
-- Reconciliation takes back what is older than 20 s: this leaves nodes' clocks some seconds.
local GIVEN_WITHIN_US = 15000000
-- The pages of a log behind the first are read for this long at most: what is decided later than 10 s is not stored.
local PAGES_READ_US = 15000000
local call = redis.call
local msgpack, msgunpack = cmsgpack.pack, cmsgpack.unpack
local spack, sunpack = struct.pack, struct.unpack
local format = string.format

local MEMBER = { [0] = '>I7I3I2' }
for i = 1, 12 do MEMBER[i] = MEMBER[i - 1] .. 'i6' end

local TIME = call('TIME')
local NOW_US = TIME[1] * 1000000 + TIME[2]
local NOW_MS = math.floor(NOW_US / 1000)

local function num(x) return format('%.0f', x) end
local function arrival_of(member) return (sunpack('>I7', member)) end

-- Positions in meta. Running totals of the open chunk follow from META_COLS on.
-- EXPIRES (ms): until when the counter's keys live at least, 0 when one of them may have begun anew without an end.
-- TRIMMED: 1 once a chunk was dropped; before that nothing precedes the first event. T_FIRST: no event is earlier, so
-- that a window that begins before it needs no lookup.
local FLOOR, T_LAST, A_LAST, EXPIRES, OPEN, SUPER, N_OPEN, NEXT_ID, PEAKS_FROM, TRIMMED = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
local T_FIRST, META_COLS = 11, 11
local NO_EVENT_YET = 9e15
-- Of a log, instead: until KEPT_UNTIL (us) what came after KEPT_FROM is not trimmed, because pages of it are being read;
-- and the same as it was told before, so that one keeps on reading while the next one is told.
local KEPT_FROM, KEPT_UNTIL, KEPT_FROM_BEFORE, KEPT_UNTIL_BEFORE = 5, 6, 7, 8

-- Whether nothing that the counter holds comes at or after (t, arr).
local function is_newer(meta, t, arr)
  return t > meta[T_LAST] or (t == meta[T_LAST] and arr > meta[A_LAST])
end

---------------------------------------------------------------------------------------------- tree: reading

local Tree = {}
Tree.__index = Tree

local function tree_open(c, meta)
  local self = setmetatable({ key = c.key, h = c.key .. ':h', n = c.ncols, carry = c.carry, vo = c.value_at,
    k = c.value_limbs, null_at = c.null_at, extremes = c.extremes, cache = {}, totals_at = {}, meta = meta }, Tree)
  return self
end

local function tree_meta(columns_n, floor)
  local meta = { floor, -1, -1, 0, 1, 1, 0, 2, -1, 0, NO_EVENT_YET }
  for i = 1, columns_n do meta[META_COLS + i] = 0 end
  return meta
end

-- Headers of a counter that has only its first chunk are not stored: most groups never have another.
function Tree:first_header(name)
  if name == 'L' or name == 'l1' then return { 1 } end
  if name ~= 'c1' and name ~= 'b1' then return nil end
  local header = name == 'c1' and { 1, 0 } or { 0 }
  for _ = 1, self.n do header[#header + 1] = 0 end
  return header
end

function Tree:header(name)
  local value = self.cache[name]
  if not value then
    local raw = call('HGET', self.h, name)
    value = raw and msgunpack(raw) or self:first_header(name)
    self.cache[name] = value
  end
  return value
end

function Tree:put(name, value)
  self.cache[name] = value
  call('HSET', self.h, name, msgpack(value))
end

function Tree:unpack(member)
  -- {arrival, chunk, n in chunk, columns…}
  return { sunpack(MEMBER[self.n], member) }
end

function Tree:pack(arr, chunk, n, cols, from)
  return spack(MEMBER[self.n], arr, chunk, n, unpack(cols, from, from + self.n - 1))
end

-- Totals (count, columns) up to and including position `n`, `cols[from…]` of `chunk`.
function Tree:total(chunk, n, cols, from)
  if chunk == 1 then
    -- The very first chunk has nothing before it.
    local out = { n }
    for i = 1, self.n do out[i + 1] = cols and cols[from + i - 1] or 0 end
    return out
  end
  local c = self:header('c' .. chunk)
  local b = self:header('b' .. c[1])
  local out = { n + c[2] + b[1] }
  for i = 1, self.n do out[i + 1] = (cols and cols[from + i - 1] or 0) + c[i + 2] + b[i + 1] end
  return out
end

function Tree:total_all()
  return self:total(self.meta[OPEN], self.meta[N_OPEN], self.meta, META_COLS + 1)
end

function Tree:total_before_first()
  if self.meta[TRIMMED] == 0 then return self:total(1, 0, nil, 1) end
  local first_super = self:header('L')[1]
  return self:total(self:header('l' .. first_super)[1], 0, nil, 1)
end

-- Rank of the last member at or before (t, arr), -1 if none. Binary search only among equal times.
local function locate(key, t, arr)
  local high = call('ZCOUNT', key, '-inf', num(t)) - 1
  if high < 0 then return -1 end
  local m = call('ZRANGE', key, high, high, 'WITHSCORES')
  if tonumber(m[2]) < t or arrival_of(m[1]) <= arr then return high end
  local low = call('ZCOUNT', key, '-inf', '(' .. num(t)) - 1
  while high - low > 1 do
    local middle = math.floor((low + high) / 2)
    if arrival_of(call('ZRANGE', key, middle, middle)[1]) <= arr then low = middle else high = middle end
  end
  return low
end

local function holds(key, rank, t, arr)
  if rank < 0 then return false end
  local m = call('ZRANGE', key, rank, rank, 'WITHSCORES')
  return tonumber(m[2]) == t and arrival_of(m[1]) == arr
end

function Tree:total_at_rank(rank)
  if rank < 0 then return self:total_before_first() end
  local m = self:unpack(call('ZRANGE', self.key, rank, rank)[1])
  return self:total(m[2], m[3], m, 4)
end

-- Totals of all events with time <= t. Neighbouring buckets and windows of one width ask for the same times: what was
-- found is kept for this event (nothing is written after the first read).
function Tree:total_at_time(t)
  if t >= self.meta[T_LAST] then return self:total_all() end
  if t < self.meta[T_FIRST] then return self:total_before_first() end
  local totals = self.totals_at[t]
  if not totals then
    local found = call('ZREVRANGEBYSCORE', self.key, num(t), '-inf', 'LIMIT', 0, 1)
    if found[1] then
      local m = self:unpack(found[1])
      totals = self:total(m[2], m[3], m, 4)
    else
      totals = self:total_before_first()
    end
    self.totals_at[t] = totals
  end
  return totals
end

local function minus(a, b)
  local out = {}
  for i = 1, #a do out[i] = a[i] - b[i] end
  return out
end

----------------------------------------------------------------------------------- tree: minimum and maximum

local function less(a, b, k)
  for i = k, 1, -1 do
    if a[i] ~= b[i] then return a[i] < b[i] end
  end
  return false
end

-- Extremes are {min limbs, max limbs} or {} when nothing has a value.
function Tree:widen(x, value)
  if not value then return x end
  if not x[1] then return { value, value } end
  return { less(value, x[1], self.k) and value or x[1], less(x[2], value, self.k) and value or x[2] }
end

function Tree:merge(x, y)
  if not y or not y[1] then return x end
  return self:widen(self:widen(x, y[1]), y[2])
end

-- The value of an event from its delta columns; nil when the field was null.
function Tree:value_of(cols, from)
  if self.null_at > 0 and cols[from + self.null_at - 1] == 0 then return nil end
  local v = {}
  for i = 1, self.k do v[i] = cols[from + self.vo - 2 + i] end
  return v
end

-- Extremes of the members of ranks r1…r2, all of one chunk; `before` is the member before r1 in that chunk, if any.
function Tree:scan(r1, r2)
  local x = {}
  local members = call('ZRANGE', self.key, r1, r2)
  local previous
  for _, raw in ipairs(members) do
    local m = self:unpack(raw)
    if not previous and m[3] > 1 then
      previous = self:unpack(call('ZRANGE', self.key, r1 - 1, r1 - 1)[1])
    end
    local own = {}
    for i = 1, self.n do own[i] = m[3 + i] - (previous and m[3] > 1 and previous[3 + i] or 0) end
    x = self:widen(x, self:value_of(own, 1))
    previous = m
  end
  return x
end

local function index_of(list, id)
  for i = 1, #list do if list[i] == id then return i end end
end

function Tree:merge_chunks(x, list, from, to)
  for i = from, to do x = self:merge(x, self:header('x' .. list[i])) end
  return x
end

-- Extremes over ranks r1…r2. At most two partial chunks are scanned, the rest is headers.
function Tree:extremes_of(r1, r2)
  if r1 > r2 then return {} end
  local first = self:unpack(call('ZRANGE', self.key, r1, r1)[1])
  local last = self:unpack(call('ZRANGE', self.key, r2, r2)[1])
  if first[2] == last[2] then return self:scan(r1, r2) end
  local x
  if first[3] == 1 then
    x = self:merge({}, self:header('x' .. first[2]))
  else
    local last_of_first = r1
    local rest = call('ZRANGE', self.key, r1, r1 + 2 * CHUNK)
    for i, raw in ipairs(rest) do
      local _, chunk = sunpack('>I7I3', raw)
      if chunk ~= first[2] then break end
      last_of_first = r1 + i - 1
    end
    x = self:scan(r1, last_of_first)
  end
  if last[2] == self.meta[OPEN] and last[3] == self.meta[N_OPEN] then
    x = self:merge(x, self:header('x' .. last[2]))
  else
    x = self:merge(x, self:scan(r2 - last[3] + 1, r2))
  end
  local s1, s2 = self:header('c' .. first[2])[1], self:header('c' .. last[2])[1]
  local l1 = self:header('l' .. s1)
  if s1 == s2 then
    return self:merge_chunks(x, l1, index_of(l1, first[2]) + 1, index_of(l1, last[2]) - 1)
  end
  x = self:merge_chunks(x, l1, index_of(l1, first[2]) + 1, #l1)
  local l2 = self:header('l' .. s2)
  x = self:merge_chunks(x, l2, 1, index_of(l2, last[2]) - 1)
  local supers = self:header('L')
  for i = index_of(supers, s1) + 1, index_of(supers, s2) - 1 do
    x = self:merge(x, self:header('y' .. supers[i]))
  end
  return x
end

-- Peaks: in `<key>:x` the events that no later one exceeds (`<key>:n`: that none undercuts), so that the extreme of a
-- window that ends at the newest event is the first of them inside it. At most PEAKS of each are kept; meta's
-- PEAKS_FROM is the time from which on they answer: a window that begins earlier is read from the headers.
local PEAKS = 1024

local VALUE = { [2] = '>I7i6i6', [3] = '>I7i6i6i6' }

local function peak_of(self, member)
  local all = { sunpack(VALUE[self.k], member) }
  return { unpack(all, 2, self.k + 1) }
end

-- Whether `a` makes a peak of value `b` before it needless. Equal values: the later one lasts longer.
function Tree:exceeds(suffix, a, b)
  if suffix == ':x' then return not less(a, b, self.k) end
  return not less(b, a, self.k)
end

-- How many of the peaks of ranks 0…n-1 stay when one of `value` follows them: they are in falling (rising) order.
function Tree:peaks_kept(suffix, n, value)
  local low, high = 0, n
  while low < high do
    local middle = math.floor((low + high) / 2)
    local peak = peak_of(self, call('ZRANGE', self.key .. suffix, middle, middle)[1])
    if self:exceeds(suffix, value, peak) then high = middle else low = middle + 1 end
  end
  return low
end

function Tree:add_peak(t, arr, value)
  if not value then return end
  local packed = spack(VALUE[self.k], arr, unpack(value, 1, self.k))
  for _, suffix in ipairs({ ':x', ':n' }) do
    local key = self.key .. suffix
    local place = locate(key, t, arr) + 1
    local after = call('ZRANGE', key, place, place)[1]
    if not (after and self:exceeds(suffix, peak_of(self, after), value)) then
      local kept = self:peaks_kept(suffix, place, value)
      -- Added first: a key whose last member goes is gone, and so is the time at which it expires.
      call('ZADD', key, num(t), packed)
      if kept < place then call('ZREMRANGEBYRANK', key, kept, place - 1) end
      local size = call('ZCARD', key)
      if size == 1 and place == 0 then self.meta[EXPIRES] = 0 end
      local surplus = size - PEAKS
      if surplus > 0 then
        local last = call('ZRANGE', key, surplus - 1, surplus - 1, 'WITHSCORES')
        call('ZREMRANGEBYRANK', key, 0, surplus - 1)
        self.meta[PEAKS_FROM] = math.max(self.meta[PEAKS_FROM], tonumber(last[2]))
      end
    end
  end
end

-- An event was taken out: what it had made needless is not known any more, so peaks begin anew after the newest.
function Tree:forget_peaks()
  call('UNLINK', self.key .. ':x', self.key .. ':n')
  self.meta[EXPIRES] = 0
  self.meta[PEAKS_FROM] = math.max(self.meta[PEAKS_FROM], self.meta[T_LAST])
end

-- Extremes of (from, newest], or nil when the peaks do not reach back that far.
function Tree:peaks(from)
  if from < self.meta[PEAKS_FROM] then return nil end
  local high = call('ZRANGEBYSCORE', self.key .. ':x', '(' .. num(from), '+inf', 'LIMIT', 0, 1)[1]
  if not high then return {} end
  local low = call('ZRANGEBYSCORE', self.key .. ':n', '(' .. num(from), '+inf', 'LIMIT', 0, 1)[1]
  return { peak_of(self, low), peak_of(self, high) }
end

------------------------------------------------------------------------------------------------ tree: writing

function Tree:save_meta() call('HSET', self.h, 'm', msgpack(self.meta)) end

-- Keep the columns of a superchunk's base below CARRY, so that they stay exact however many events came before.
function Tree:normalise(base)
  for i = 1, self.n do
    if self.carry[i] == 1 then
      local over = math.floor(base[i + 1] / CARRY)
      base[i + 1] = base[i + 1] - over * CARRY
      base[i + 2] = base[i + 2] + over
    end
  end
  return base
end

-- Read these headers, change each with `change`, write them back: two commands for all of them.
function Tree:change_headers(prefix, list, from, change)
  if from > #list then return end
  local names, pairs_ = {}, {}
  for i = from, #list do names[#names + 1] = prefix .. list[i] end
  local raws = call('HMGET', self.h, unpack(names))
  for i, name in ipairs(names) do
    local header = self.cache[name] or raws[i] and msgunpack(raws[i]) or self:first_header(name)
    change(header)
    self.cache[name] = header
    pairs_[2 * i - 1], pairs_[2 * i] = name, msgpack(header)
  end
  call('HSET', self.h, unpack(pairs_))
end

-- Everything after `chunk` has one event more (sign 1) or less (-1).
function Tree:shift_after(chunk, sign, delta)
  local n = self.n
  local super = self:header('c' .. chunk)[1]
  local list = self:header('l' .. super)
  self:change_headers('c', list, index_of(list, chunk) + 1, function(header)
    header[2] = header[2] + sign
    for i = 1, n do header[2 + i] = header[2 + i] + sign * delta[i] end
  end)
  local supers = self:header('L')
  self:change_headers('b', supers, index_of(supers, super) + 1, function(header)
    header[1] = header[1] + sign
    for i = 1, n do header[1 + i] = header[1 + i] + sign * delta[i] end
    self:normalise(header)
  end)
end

function Tree:new_id()
  local id = self.meta[NEXT_ID]
  self.meta[NEXT_ID] = id + 1
  return id
end

local function insert_after(list, id, new)
  table.insert(list, index_of(list, id) + 1, new)
end

function Tree:open_chunk()
  local meta = self.meta
  local header = self:header('c' .. meta[OPEN])
  local super = meta[SUPER]
  local list = self:header('l' .. super)
  local id = self:new_id()
  local base = { super, header[2] + meta[N_OPEN] }
  for i = 1, self.n do base[i + 2] = header[i + 2] + meta[META_COLS + i] end
  if #list >= CHUNK then
    local old = self:header('b' .. super)
    local new_base = {}
    for i = 1, self.n + 1 do new_base[i] = old[i] + base[i + 1] end
    super = self:new_id()
    self:put('b' .. super, self:normalise(new_base))
    self:put('l' .. super, { id })
    local supers = self:header('L')
    supers[#supers + 1] = super
    self:put('L', supers)
    base = { super, 0 }
    for i = 1, self.n do base[i + 2] = 0 end
    meta[SUPER] = super
  else
    list[#list + 1] = id
    self:put('l' .. super, list)
  end
  self:put('c' .. id, base)
  meta[OPEN] = id
  meta[N_OPEN] = 0
  for i = 1, self.n do meta[META_COLS + i] = 0 end
end

function Tree:append(t, arr, delta)
  local meta = self.meta
  if meta[N_OPEN] >= CHUNK then self:open_chunk() end
  meta[N_OPEN] = meta[N_OPEN] + 1
  for i = 1, self.n do meta[META_COLS + i] = meta[META_COLS + i] + delta[i] end
  meta[T_LAST], meta[A_LAST] = t, arr
  call('ZADD', self.key, num(t), self:pack(arr, meta[OPEN], meta[N_OPEN], meta, META_COLS + 1))
  if self.extremes then
    local value = self:value_of(delta, 1)
    self:add_peak(t, arr, value)
    self:put('x' .. meta[OPEN], self:widen(self:header('x' .. meta[OPEN]) or {}, value))
    self:put('y' .. meta[SUPER], self:widen(self:header('y' .. meta[SUPER]) or {}, value))
  end
end

-- Rewrite the members after `rank` in `chunk` by sign * delta; `extra` (score, member) pairs are added with them.
function Tree:rewrite(rank, chunk, sign, delta, extra)
  local following = call('ZRANGE', self.key, rank + 1, rank + 2 * CHUNK + 1, 'WITHSCORES')
  local gone, new = {}, extra
  local size = 0
  for i = 1, #following, 2 do
    local m = self:unpack(following[i])
    if m[2] ~= chunk then break end
    gone[#gone + 1] = following[i]
    for j = 1, self.n do m[3 + j] = m[3 + j] + sign * delta[j] end
    size = m[3] + sign
    new[#new + 1] = following[i + 1]
    new[#new + 1] = self:pack(m[1], chunk, size, m, 4)
  end
  if #gone > 0 then call('ZREM', self.key, unpack(gone)) end
  if #new > 0 then call('ZADD', self.key, unpack(new)) end
  return size
end

function Tree:chunk_extremes(chunk, first_rank, size)
  if not self.extremes then return end
  self:put('x' .. chunk, size > 0 and self:scan(first_rank, first_rank + size - 1) or {})
end

function Tree:super_extremes(super)
  if not self.extremes then return end
  local list = self:header('l' .. super)
  self:put('y' .. super, self:merge_chunks({}, list, 1, #list))
end

function Tree:split_super(super)
  local list = self:header('l' .. super)
  if #list <= 2 * CHUNK then return end
  local new = self:new_id()
  local kept, moved = {}, {}
  for i, id in ipairs(list) do
    if i <= CHUNK then kept[#kept + 1] = id else moved[#moved + 1] = id end
  end
  local first = self:header('c' .. moved[1])
  local offset = { unpack(first, 2) }
  local old = self:header('b' .. super)
  local base = {}
  for i = 1, self.n + 1 do base[i] = old[i] + offset[i] end
  for _, id in ipairs(moved) do
    local header = self:header('c' .. id)
    local rebased = { new }
    for i = 1, self.n + 1 do rebased[i + 1] = header[i + 1] - offset[i] end
    self:put('c' .. id, rebased)
    if id == self.meta[OPEN] then self.meta[SUPER] = new end
  end
  self:put('b' .. new, self:normalise(base))
  self:put('l' .. super, kept)
  self:put('l' .. new, moved)
  local supers = self:header('L')
  insert_after(supers, super, new)
  self:put('L', supers)
  self:super_extremes(super)
  self:super_extremes(new)
end

function Tree:split(chunk, first_rank, size)
  local members = call('ZRANGE', self.key, first_rank, first_rank + size - 1, 'WITHSCORES')
  local at = self:unpack(members[2 * CHUNK - 1])
  local header = self:header('c' .. chunk)
  local super = header[1]
  local id = self:new_id()
  local base = { super }
  for i = 0, self.n do base[i + 2] = header[i + 2] + at[i + 3] end
  self:put('c' .. id, base)
  local gone, new = {}, {}
  for i = 2 * CHUNK + 1, #members, 2 do
    local m = self:unpack(members[i])
    gone[#gone + 1] = members[i]
    for j = 1, self.n do m[3 + j] = m[3 + j] - at[3 + j] end
    new[#new + 1] = members[i + 1]
    new[#new + 1] = self:pack(m[1], id, m[3] - CHUNK, m, 4)
  end
  call('ZREM', self.key, unpack(gone))
  call('ZADD', self.key, unpack(new))
  local list = self:header('l' .. super)
  insert_after(list, chunk, id)
  self:put('l' .. super, list)
  local meta = self.meta
  if meta[OPEN] == chunk then
    meta[OPEN] = id
    meta[N_OPEN] = meta[N_OPEN] - CHUNK
    for i = 1, self.n do meta[META_COLS + i] = meta[META_COLS + i] - at[3 + i] end
  end
  self:chunk_extremes(chunk, first_rank, CHUNK)
  self:chunk_extremes(id, first_rank + CHUNK, size - CHUNK)
  self:split_super(super)
end

function Tree:insert_late(t, arr, delta, rank)
  local chunk, n, cols
  if rank >= 0 then
    local m = self:unpack(call('ZRANGE', self.key, rank, rank)[1])
    chunk, n, cols = m[2], m[3], { unpack(m, 4) }
  else
    chunk = self:unpack(call('ZRANGE', self.key, 0, 0)[1])[2]
    n, cols = 0, {}
    for i = 1, self.n do cols[i] = 0 end
  end
  for i = 1, self.n do cols[i] = cols[i] + delta[i] end
  local size = self:rewrite(rank, chunk, 1, delta, { num(t), self:pack(arr, chunk, n + 1, cols, 1) })
  if size < n + 1 then size = n + 1 end
  self:shift_after(chunk, 1, delta)
  local meta = self.meta
  if chunk == meta[OPEN] then
    meta[N_OPEN] = meta[N_OPEN] + 1
    for i = 1, self.n do meta[META_COLS + i] = meta[META_COLS + i] + delta[i] end
  end
  if self.extremes then
    local value, super = self:value_of(delta, 1), self:header('c' .. chunk)[1]
    self:add_peak(t, arr, value)
    self:put('x' .. chunk, self:widen(self:header('x' .. chunk) or {}, value))
    self:put('y' .. super, self:widen(self:header('y' .. super) or {}, value))
  end
  if size > 2 * CHUNK then self:split(chunk, rank + 1 - n, size) end
end

function Tree:insert(t, arr, delta)
  local meta = self.meta
  if t < meta[T_FIRST] then meta[T_FIRST] = t end
  if is_newer(meta, t, arr) then return self:append(t, arr, delta) end
  local rank = locate(self.key, t, arr)
  if holds(self.key, rank, t, arr) then return end
  if rank < 0 and call('ZCARD', self.key) == 0 then return self:append(t, arr, delta) end
  self:insert_late(t, arr, delta, rank)
end

function Tree:remove(t, arr)
  local rank = locate(self.key, t, arr)
  if not holds(self.key, rank, t, arr) then return false end
  local raw = call('ZRANGE', self.key, rank, rank)[1]
  local m = self:unpack(raw)
  local chunk, delta = m[2], { unpack(m, 4) }
  if m[3] > 1 then
    local before = self:unpack(call('ZRANGE', self.key, rank - 1, rank - 1)[1])
    for i = 1, self.n do delta[i] = delta[i] - before[3 + i] end
  end
  call('ZREM', self.key, raw)
  self.meta[EXPIRES] = 0
  local size = self:rewrite(rank - 1, chunk, -1, delta, {})
  if size < m[3] - 1 then size = m[3] - 1 end
  self:shift_after(chunk, -1, delta)
  local meta = self.meta
  if chunk == meta[OPEN] then
    meta[N_OPEN] = meta[N_OPEN] - 1
    for i = 1, self.n do meta[META_COLS + i] = meta[META_COLS + i] - delta[i] end
  end
  if self.extremes then
    self:forget_peaks()
    self:chunk_extremes(chunk, rank - m[3] + 1, size)
    self:super_extremes(self:header('c' .. chunk)[1])
  end
  return true
end

-- Drop the oldest chunk once all of it is older than `horizon`; at most one a call, which outpaces the filling.
function Tree:trim(horizon)
  local head = call('ZRANGE', self.key, 0, 2 * CHUNK, 'WITHSCORES')
  if #head < 4 * CHUNK + 2 then return end
  local _, chunk = sunpack('>I7I3', head[1])
  local settled = NOW_US - IN_FLIGHT_US
  local n = 0
  for i = 1, #head, 2 do
    local arr, id = sunpack('>I7I3', head[i])
    if id ~= chunk then break end
    if arr > settled then return end
    n = n + 1
  end
  local last_time = tonumber(head[2 * n])
  if last_time > horizon or chunk == self.meta[OPEN] then return end
  call('ZREMRANGEBYRANK', self.key, 0, n - 1)
  self.meta[FLOOR] = math.max(self.meta[FLOOR], last_time)
  self.meta[TRIMMED] = 1
  self.meta[T_FIRST] = last_time
  self:forget_chunks_through(chunk)
end

-- Drop the headers of `chunk` and of everything before it (chunks emptied by removals included).
function Tree:forget_chunks_through(chunk)
  local supers = self:header('L')
  local found = false
  while not found do
    local super = supers[1]
    local list = self:header('l' .. super)
    while #list > 0 and not found do
      found = list[1] == chunk
      call('HDEL', self.h, 'c' .. list[1], 'x' .. list[1])
      table.remove(list, 1)
    end
    if #list > 0 then
      self:put('l' .. super, list)
      self:super_extremes(super)
    else
      call('HDEL', self.h, 'l' .. super, 'b' .. super, 'y' .. super)
      table.remove(supers, 1)
    end
  end
  self:put('L', supers)
end

------------------------------------------------------------------------------------------- distinct and log

local function log_trim(c, meta, horizon)
  local key = c.key
  local n = c.cap > 0 and call('ZCARD', key) - c.cap or call('ZCOUNT', key, '-inf', num(horizon))
  if n <= 0 then return end
  if n > 2 * CHUNK then n = 2 * CHUNK end
  local oldest = call('ZRANGE', key, 0, n - 1, 'WITHSCORES')
  local settled, kept_from = NOW_US - IN_FLIGHT_US, math.huge
  if NOW_US < meta[KEPT_UNTIL] then kept_from = meta[KEPT_FROM] end
  if NOW_US < meta[KEPT_UNTIL_BEFORE] then kept_from = math.min(kept_from, meta[KEPT_FROM_BEFORE]) end
  for i = 1, #oldest, 2 do
    if arrival_of(oldest[i]) > settled or tonumber(oldest[i + 1]) > kept_from then
      n = (i - 1) / 2
      break
    end
  end
  if n == 0 then return end
  meta[FLOOR] = math.max(meta[FLOOR], tonumber(oldest[2 * n]))
  call('ZREMRANGEBYRANK', key, 0, n - 1)
  if c.kind == 'distinct' then
    local old = call('ZCOUNT', key .. ':d', '-inf', num(meta[FLOOR]))
    if old > 0 then call('ZREMRANGEBYRANK', key .. ':d', 0, math.min(old, 2 * CHUNK) - 1) end
  end
end

local function log_insert(c, meta, t, arr, payload)
  call('ZADD', c.key, num(t), spack('>I7', arr) .. payload)
  if c.kind == 'distinct' and payload ~= '' and call('ZADD', c.key .. ':d', 'GT', num(t), payload) == 1
    and call('ZCARD', c.key .. ':d') == 1 then
    meta[EXPIRES] = 0
  end
  if is_newer(meta, t, arr) then meta[T_LAST], meta[A_LAST] = t, arr end
end

local function log_find(key, t, arr)
  local rank = locate(key, t, arr)
  if holds(key, rank, t, arr) then return call('ZRANGE', key, rank, rank)[1] end
end

-- After removing an event of `value`: when was it seen before? Newest first, DISTINCT_BOUND events at most; a value
-- not met within them keeps its time, which can only count too many.
local DISTINCT_BOUND = 2000
local function distinct_forget(key, value)
  for from = 0, DISTINCT_BOUND - 1, 500 do
    local page = call('ZREVRANGE', key, from, from + 499, 'WITHSCORES')
    for i = 1, #page, 2 do
      if page[i]:sub(8) == value then
        call('ZADD', key .. ':d', page[i + 1], value)
        return
      end
    end
    if #page < 1000 then
      call('ZREM', key .. ':d', value)
      return
    end
  end
end

local function log_remove(c, t, arr)
  local member = log_find(c.key, t, arr)
  if not member then return false end
  call('ZREM', c.key, member)
  if call('EXISTS', c.key) == 0 then
    local meta = msgunpack(call('HGET', c.key .. ':h', 'm'))
    meta[EXPIRES] = 0
    call('HSET', c.key .. ':h', 'm', msgpack(meta))
  end
  if c.kind == 'distinct' and #member > 7 then distinct_forget(c.key, member:sub(8)) end
  return true
end

-- Distinct values in (from, to], the event (t, arr) and later ones of the same time left out as asked.
-- Returns the number, or -1 when more than DISTINCT_BOUND events would have to be read.
local function distinct_scan(key, from, to, t, arr, exclude)
  local page = call('ZREVRANGEBYSCORE', key, num(to), '(' .. num(from), 'WITHSCORES', 'LIMIT', 0, DISTINCT_BOUND + 1)
  if #page > 2 * DISTINCT_BOUND then return -1 end
  local seen, n = {}, 0
  for i = 1, #page, 2 do
    local value, a = page[i]:sub(8), arrival_of(page[i])
    local is_later = tonumber(page[i + 1]) == t and (a > arr or (exclude and a == arr))
    if value ~= '' and not is_later and not seen[value] then
      seen[value] = true
      n = n + 1
    end
  end
  return n
end

------------------------------------------------------------------------------------------------ one counter

local SUMS, MIN_MAX, FIRST, PREVIOUS, DISTINCT, LOG = 1, 2, 3, 4, 5, 6

-- Counter as sent: see `store.Counter.wire`.
local function counter_of(wire, base)
  return { key = base .. wire[1], id = wire[2], kind = wire[3], ttl = wire[4], retention = wire[5], ncols = wire[6],
    carry = wire[7], value_at = wire[8], value_limbs = wire[9], null_at = wire[10], extremes = wire[11] == 1,
    cap = wire[12] }
end

-- Saves meta, and sees to it that the counter's keys live for c.ttl from now on; they are told so again only after an
-- eighth of that. Saved first: a key that is not there cannot be told when to end.
local function save(c, meta)
  local ends_anew = c.ttl > 0 and meta[EXPIRES] < NOW_MS + c.ttl
  local ttl = num(math.floor(c.ttl * 9 / 8))
  if ends_anew then meta[EXPIRES] = NOW_MS + math.floor(c.ttl * 9 / 8) end
  call('HSET', c.key .. ':h', 'm', msgpack(meta))
  if not ends_anew then return end
  call('PEXPIRE', c.key, ttl)
  call('PEXPIRE', c.key .. ':h', ttl)
  if c.extremes then
    call('PEXPIRE', c.key .. ':x', ttl)
    call('PEXPIRE', c.key .. ':n', ttl)
  end
  if c.kind == 'distinct' then call('PEXPIRE', c.key .. ':d', ttl) end
end

-- `meta` is changed with the counter and saved.
local function write_event(c, meta, t, arr, delta, payload)
  if c.kind == 'tree' then
    local tree = tree_open(c, meta)
    local chunk = tree.meta[OPEN]
    tree:insert(t, arr, delta)
    -- A late event's own window may reach what was filled back in for it: only the newest event trims.
    if tree.meta[OPEN] ~= chunk and c.retention > 0 and t == tree.meta[T_LAST] then tree:trim(t - c.retention) end
    save(c, tree.meta)
    return tree
  end
  if is_newer(meta, t, arr) or not log_find(c.key, t, arr) then log_insert(c, meta, t, arr, payload) end
  if (c.retention > 0 or c.cap > 0) and t == meta[T_LAST] then log_trim(c, meta, t - c.retention) end
  save(c, meta)
  return meta
end

-- The meta of a counter that is about to get its first event: with that it is saved and its keys' expiry set.
local function create(c, floor)
  return c.kind == 'tree' and tree_meta(c.ncols, floor) or { floor, -1, -1, 0, -1, 0, -1, 0 }
end

-- read = {kind, width (-1: lifetime), delay, exclude current, limit}; results in `out`, log members in `members`.
local function read_tree(tree, read, t, arr, matched, newest)
  local kind, width, delay = read[1], read[2], read[3]
  local to = t - delay
  local from = width < 0 and -1 or to - width
  if kind == SUMS then
    local upper
    if delay > 0 then upper = tree:total_at_time(to)
    elseif newest then upper = tree:total_all()
    else upper = tree:total_at_rank(locate(tree.key, t, arr)) end
    if width < 0 then return tree.meta[FLOOR] < 0 and upper or minus(upper, tree:total_before_first()) end
    return minus(upper, tree:total_at_time(from))
  end
  if kind == FIRST then
    local found = call('ZRANGEBYSCORE', tree.key, '(' .. num(from), num(to), 'LIMIT', 0, 1, 'WITHSCORES')
    if not found[1] then return false end
    local time, a = tonumber(found[2]), arrival_of(found[1])
    if time == t and (a > arr or (read[4] == 1 and a == arr)) then return false end
    return time
  end
  local rank = delay > 0 and call('ZCOUNT', tree.key, '-inf', num(to)) - 1 or locate(tree.key, t, arr)
  if read[4] == 1 and delay == 0 and holds(tree.key, rank, t, arr) then rank = rank - 1 end
  if kind == PREVIOUS then
    if rank < 0 then return false end
    local time = tonumber(call('ZRANGE', tree.key, rank, rank, 'WITHSCORES')[2])
    return time > from and time
  end
  local at_newest = newest and delay == 0 and (read[4] == 0 or not matched)
  local peaks = at_newest and tree:peaks(from)
  return peaks or tree:extremes_of(width < 0 and 0 or call('ZCOUNT', tree.key, '-inf', num(from)), rank)
end

-- The caller may ask for what comes before this page. Told at most every PAGES_READ_US, unless it begins earlier.
local function keep_for_pages(c, meta, from)
  local is_told = NOW_US + PAGES_READ_US <= meta[KEPT_UNTIL]
  if is_told and from >= meta[KEPT_FROM] then return end
  if not is_told then
    meta[KEPT_FROM_BEFORE], meta[KEPT_UNTIL_BEFORE] = meta[KEPT_FROM], meta[KEPT_UNTIL]
    meta[KEPT_UNTIL] = NOW_US + 2 * PAGES_READ_US
  end
  meta[KEPT_FROM] = from
  call('HSET', c.key .. ':h', 'm', msgpack(meta))
end

local function read_log(c, meta, read, t, arr, previous_seen, newest, matched, members)
  local kind, width, delay = read[1], read[2], read[3]
  local to = t - delay
  local from = width < 0 and -1 or to - width
  if kind == LOG then
    local page = call('ZREVRANGEBYSCORE', c.key, num(to), '(' .. num(from), 'WITHSCORES', 'LIMIT', 0, read[5])
    for _, item in ipairs(page) do members[#members + 1] = item end
    -- Not of the newest N: they are trimmed by number, and kept from the beginning they would never be.
    if c.cap == 0 and #page == 2 * read[5] then keep_for_pages(c, meta, from) end
    return #page / 2
  end
  if kind == SUMS then
    if delay == 0 and newest then
      return { call('ZCOUNT', c.key, '(' .. num(from), num(to)) }
    end
    local upper = delay > 0 and call('ZCOUNT', c.key, '-inf', num(to)) or locate(c.key, t, arr) + 1
    return { upper - call('ZCOUNT', c.key, '-inf', num(from)) }
  end
  if delay > 0 or not newest then return distinct_scan(c.key, from, to, t, arr, read[4] == 1) end
  local n = call('ZCOUNT', c.key .. ':d', '(' .. num(from), num(to))
  if read[4] == 1 and matched and previous_seen and previous_seen <= from then n = n - 1 end
  return n
end

-- Extremes without the event that is about to be counted as the newest, by place in `reads`.
local function peaks_before(c, meta, t, arr, reads)
  local tree = tree_open(c, meta)
  local found = {}
  if not is_newer(meta, t, arr) then return found end
  for i, read in ipairs(reads) do
    if read[1] == MIN_MAX and read[4] == 1 and read[3] == 0 then
      found[i] = tree:peaks(read[2] < 0 and -1 or t - read[2])
    end
  end
  return found
end

local function apply(c, wire, meta, t, arr, follow, results, members)
  local matched, delta, payload = wire[13] == 1, wire[14], wire[15] > 0 and ARGV[wire[15]] or ''
  local reads = wire[16]
  local previous_seen
  if meta == nil then
    -- Absent though everything is loaded: no event of this group within the retention. Nothing to create unless
    -- there is something to count.
    if not matched then
      results[#results + 1] = { -2 }
      return
    end
    meta = create(c, wire[17])
  end
  if c.kind == 'distinct' and matched and payload ~= '' then
    local score = call('ZSCORE', c.key .. ':d', payload)
    previous_seen = score and tonumber(score) or -1
  end
  local out = {}
  if c.kind == 'tree' then
    local before = matched and c.extremes and peaks_before(c, meta, t, arr, reads) or {}
    local tree = matched and write_event(c, meta, t, arr, delta) or tree_open(c, meta)
    local newest = t > meta[T_LAST] or (t == meta[T_LAST] and arr >= meta[A_LAST])
    for i, read in ipairs(reads) do out[i] = before[i] or read_tree(tree, read, t, arr, matched, newest) end
    results[#results + 1] = { meta[FLOOR], out }
    return
  end
  if matched then write_event(c, meta, t, arr, nil, payload) end
  local newest = not follow and (t > meta[T_LAST] or (t == meta[T_LAST] and arr >= meta[A_LAST]))
  for i, read in ipairs(reads) do
    out[i] = read_log(c, meta, read, t, arr, previous_seen, newest, matched, members)
  end
  results[#results + 1] = { meta[FLOOR], out }
end

--------------------------------------------------------------------------------------------------- commands

local commands = {}

-- Which events were counted, and when: one hash a day of arrival, today's and yesterday's are looked at. A hash costs
-- a third less than a sorted set, and a whole day expires at once. The arrival is kept as time of that day: with five
-- bytes it fits the allocator's smallest class, with seven it would take twice that.
local DAY_US = 86400000000

-- Whether no newer ruleset than `number` was seen here; remembers it.
local function ruleset_known(ns, number)
  local newest = tonumber(call('GET', ns .. 'ruleset') or '0')
  if number > newest then call('SET', ns .. 'ruleset', num(number)) end
  return number >= newest
end

local function index_key(base, tag, day)
  return base .. 'ix:' .. tag .. ':' .. num(day)
end

local function index_get(base, tag, id, day)
  local found = call('HGET', index_key(base, tag, day), id)
  return found and day * DAY_US + sunpack('>I5', found)
end

local function index_find(base, tag, id, now)
  local today = math.floor(now / DAY_US)
  return index_get(base, tag, id, today) or index_get(base, tag, id, today - 1)
end

local function index_put(base, tag, id, arr, ttl)
  local day = math.floor(arr / DAY_US)
  local key = index_key(base, tag, day)
  call('HSET', key, id, spack('>I5', arr - day * DAY_US))
  call('PEXPIRE', key, ttl)
end

local function index_drop(base, tag, id, arr)
  local day = math.floor(arr / DAY_US)
  if index_get(base, tag, id, day) == arr then call('HDEL', index_key(base, tag, day), id) end
end

-- request = {ns, base, epoch, t or false, follow, lateness, index ttl, counters, name of the exchange or false,
--   arrival or false, bucket or false, number of the ruleset}
-- On a cluster (cluster.py) an event's counters are in several buckets, each with names of its own: the user's assigns
-- the arrival, one that no other bucket assigns (bucket = {how many there are, which this is}); the others are given
-- it, with the event's time. What is this late with it may have been taken back meanwhile, and is not counted.
-- ARGV[3] = id of the event, ARGV[4] = what reconciliation needs to take the count back, ARGV[5…] = payloads.
-- Answers {status, blob, log members…}; statuses: ok; lost (another epoch); stale (a newer ruleset is in force, nothing
-- done: counted for the counters of the old one alone, the event would be missing from the new one's to whoever counts
-- before it is decided anew); seen (counted before, nothing done); fill (these counters are unknown or not complete far enough back, or, with none named, an event of the same user
-- waits for its own; nothing done).
function commands.count(request)
  local ns, base = request[1], request[2]
  if call('GET', ns .. 'epoch') ~= request[3] then return { 'lost' } end
  local follow = request[5]
  local now = NOW_US
  local given, bucket = request[10], request[11]
  if not given and not ruleset_known(ns, request[12]) then return { 'stale' } end
  if given and now - given > GIVEN_WITHIN_US then return { 'lost' } end
  local seen = given or index_find(base, ARGV[5], ARGV[3], now)
  if seen and not follow and not given then return { 'seen', msgpack({ seen }) } end
  local arr
  if seen then arr = seen else
    arr = math.max(now, tonumber(call('GET', ns .. 'arrival') or '0') + 1)
    if bucket then arr = arr + (bucket[2] - arr) % bucket[1] end
  end
  local t = request[4] or arr
  local counters, metas, unknown, absent, absent_ids = {}, {}, {}, {}, {}
  for i, wire in ipairs(request[8]) do
    local c = counter_of(wire, base)
    local raw = call('HGET', c.key .. ':h', 'm')
    counters[i] = c
    if raw then
      metas[i] = msgunpack(raw)
      local floor = metas[i][FLOOR]
      if floor >= 0 and (floor == LOADING or (wire[18] >= 0 and t - wire[18] < floor) or wire[18] == -1) then
        unknown[#unknown + 1] = i
      end
    else
      absent[#absent + 1] = i
      absent_ids[#absent_ids + 1] = c.id
    end
  end
  if #absent > 0 then
    local ready = call('SMISMEMBER', ns .. 'ready:' .. request[3], unpack(absent_ids))
    for place, i in ipairs(absent) do
      local wire = request[8][i]
      if t < now - request[6] or ready[place] == 0 then
        unknown[#unknown + 1] = i
      else
        wire[17] = wire[17] < 0 and -1 or now - wire[17]
      end
    end
  end
  -- In one exchange the events of a user stay in their order: behind one that waits for its counters they all wait.
  local hold = request[9] and base .. 'hold:' .. ARGV[5]
  local held = hold and call('GET', hold) == request[9]
  if held or #unknown > 0 then
    if hold and not held then call('SET', hold, request[9], 'PX', HOLD_MS) end
    return { 'fill', msgpack(unknown) }
  end
  if not seen then
    call('SET', ns .. 'arrival', num(arr))
    index_put(base, ARGV[5], ARGV[3], arr, request[7])
    call('ZADD', ns .. 'recent', num(arr), ARGV[4])
  end
  local results, members = {}, {}
  for i, wire in ipairs(request[8]) do
    apply(counters[i], wire, metas[i], t, arr, given and follow or not given and seen ~= false, results, members)
  end
  return { 'ok', msgpack({ arr, t, results }), unpack(members) }
end

-- request = {ns, base, epoch, counters, t, arr}: take an event out of every counter and the index.
function commands.uncount(request)
  local ns, base = request[1], request[2]
  if call('GET', ns .. 'epoch') ~= request[3] then return { 'lost' } end
  local t, arr = request[5], request[6]
  for _, wire in ipairs(request[4]) do
    local c = counter_of(wire, base)
    local raw = call('HGET', c.key .. ':h', 'm')
    if raw then
      if c.kind == 'tree' then
        local tree = tree_open(c, msgunpack(raw))
        if tree:remove(t, arr) then tree:save_meta() end
      else
        log_remove(c, t, arr)
      end
    end
  end
  if ARGV[3] ~= '' then
    index_drop(base, ARGV[4], ARGV[3], arr)
  end
  return { 'ok' }
end

-- request = {ns, base, epoch, counter, floor, is_last, events {t, arr, delta, payload index}}
-- Adds events from the database that the counter lacks; with is_last the counter is complete from `floor` on.
function commands.fill(request)
  local ns, base = request[1], request[2]
  if call('GET', ns .. 'epoch') ~= request[3] then return { 'lost' } end
  local c = counter_of(request[4], base)
  local raw = call('HGET', c.key .. ':h', 'm')
  local meta = raw and msgunpack(raw) or create(c, LOADING)
  local tree = c.kind == 'tree' and tree_open(c, meta)
  for _, event in ipairs(request[7]) do
    if tree then
      tree:insert(event[1], event[2], event[3])
    elseif not log_find(c.key, event[1], event[2]) then
      log_insert(c, meta, event[1], event[2], event[4] > 0 and ARGV[event[4]] or '')
    end
  end
  if request[6] then meta[FLOOR] = math.min(meta[FLOOR], request[5]) end
  meta[EXPIRES] = 0
  save(c, meta)
  if c.ttl > 0 and call('EXISTS', c.key) == 0 then
    -- Filled with nothing: the first event's keys have to be told when to end.
    meta[EXPIRES] = 0
    call('HSET', c.key .. ':h', 'm', msgpack(meta))
  end
  return { 'ok' }
end

-- request = {ns, base, epoch, counters with matched/delta/payload as in count, t, arr}: a corrected event.
function commands.correct(request)
  local ns, base = request[1], request[2]
  if call('GET', ns .. 'epoch') ~= request[3] then return { 'lost' } end
  local t, arr = request[5], request[6]
  for _, wire in ipairs(request[4]) do
    local c = counter_of(wire, base)
    local raw = call('HGET', c.key .. ':h', 'm')
    local floor = raw and msgunpack(raw)[FLOOR]
    if raw and (floor < 0 or (floor < t and floor ~= LOADING)) then
      if c.kind == 'tree' then
        local tree = tree_open(c, msgunpack(raw))
        tree:remove(t, arr)
        tree:save_meta()
      else
        log_remove(c, t, arr)
      end
      if wire[13] == 1 then
        write_event(c, msgunpack(call('HGET', c.key .. ':h', 'm')), t, arr, wire[14], wire[15] > 0 and ARGV[wire[15]] or '')
      end
    end
  end
  return { 'ok' }
end

-- request = {ns, number}: this ruleset is in force.
function commands.ruleset(request)
  ruleset_known(request[1], request[2])
  return { 'ok' }
end

-- request = {ns, base, epoch, counter}: {floor, totals of the tree's events beyond it}.
function commands.totals(request)
  local ns, base = request[1], request[2]
  if call('GET', ns .. 'epoch') ~= request[3] then return { 'lost' } end
  local c = counter_of(request[4], base)
  local raw = call('HGET', c.key .. ':h', 'm')
  if not raw then return { 'ok', msgpack({ -1, {} }) } end
  local meta = msgunpack(raw)
  local floor = meta[FLOOR]
  if c.kind ~= 'tree' then return { 'ok', msgpack({ floor, {} }) } end
  local tree = tree_open(c, meta)
  return { 'ok', msgpack({ floor, minus(tree:total_all(), tree:total_at_time(floor)) }) }
end

return commands[ARGV[1]](msgunpack(ARGV[2]))
