-- Velocity counters over sorted sets. docs/velocity.md explains the structures; messages.py has what is asked and answered,
-- library.py loads this as a library of functions: what is local here is kept from call to call, by each server for itself.
--
-- A counter keeps the events of one feature and group value. Three kinds:
--   tree      count, sums, sums of squares, minimum, maximum: events in chunks of running totals (below)
--   distinct  the last time each value was seen, beside a log of all
--   log       the events themselves, for functions that must look at each (bounded by the caller)
-- All counters of one group have a hash `<group>:m`; its field of the counter's id is the counter's meta, which says from
-- which event time on it is complete (`floor`, -1: from the beginning, LOADING: being filled). A counter without meta is
-- unknown, never zero.
--
-- tree: members of the sorted set `<key>` have the event time (us) as score and, packed, the arrival, a chunk id,
-- the number of events and the column totals from the start of the chunk up to this event. In the hash `<key>:h` a
-- chunk's header `c<id>` holds the totals before it within its superchunk, `b<id>` the totals before a superchunk. A
-- window is the difference of two lookups of three keys each, whatever lies between; a late event rewrites the rest of
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
local FOREVER = 1 / 0

-- Set at the beginning of every call: a library that is being loaded has none of this yet.
local call, msgpack, msgunpack, spack, sunpack, format, floor, min, max
local NOW_US, NOW_MS

local MEMBER = { [0] = '>I7I3I2' }
for i = 1, 12 do MEMBER[i] = MEMBER[i - 1] .. 'i6' end

-- One event asks for the same times again and again.
local last_number, last_text
local function num(x)
  if x ~= last_number then last_number, last_text = x, format('%.0f', x) end
  return last_text
end
local function arrival_of(member) return (sunpack('>I7', member)) end

-- Positions in meta, of every kind of counter first.
-- AGE: YOUNG or GROWN (below). EXPIRES (ms): until when the counter counts as kept, 0 for ever; its keys live as long, but
-- for one that began anew: then UNTOLD is 1 until all are told again. T_FIRST: no event is earlier, so that a window that
-- begins before it needs no lookup.
local AGE, FLOOR, EXPIRES, T_LAST, A_LAST, T_FIRST, UNTOLD = 1, 2, 3, 4, 5, 6, 7
local GROWN, YOUNG = 0, 1
local HEAD = '>I1i7I6'
local HEAD_BYTES, EXPIRES_AT = 14, 9
local META = HEAD .. 'i7i7i7I1'
-- Of a tree. TRIMMED: 1 once a chunk was dropped; before that nothing precedes the first event. Running totals of the open
-- chunk follow from META_COLS on, and behind them, with extremes, what `peaks_from` says the place of.
local OPEN, SUPER, N_OPEN, NEXT_ID, TRIMMED, META_COLS = 8, 9, 10, 11, 12, 12
local TREE_META = META .. 'I3I3I1I3I1'
-- Of a log. HELD events, and of so many different VALUES. Until KEPT_UNTIL (us) what came after KEPT_FROM is not trimmed,
-- because pages of it are being read; and the same as it was told before, so that one keeps on reading while the next one
-- is told. These four are left out while nobody reads. SOUGHT: how many values are in `<key>:s` (see forget_value); left
-- out where none is.
local HELD, VALUES, KEPT_FROM, KEPT_UNTIL, KEPT_FROM_BEFORE, KEPT_UNTIL_BEFORE, SOUGHT = 8, 9, 10, 11, 12, 13, 14
local LOG_META = META .. 'I5I4'
local LOG_META_BYTES = 45
local KEPT_META = LOG_META .. 'i7i7i7i7'
local KEPT_META_BYTES = 73
local SOUGHT_META = KEPT_META .. 'I4'
-- A young counter has no keys of its own: its few events follow in meta from YOUNG_EVENTS on, in order, each with its
-- time, its arrival and a tree's delta or a log's payload. Most groups never have more.
local YOUNG_EVENTS = 4
local YOUNG_MOST = 8
local NO_EVENT_YET = 9e15

local SUMS, MIN_MAX, FIRST, PREVIOUS, DISTINCT, LOG = 1, 2, 3, 4, 5, 6

-- Whether nothing that the counter holds comes at or after (t, arr).
local function is_newer(meta, t, arr)
  return t > meta[T_LAST] or (t == meta[T_LAST] and arr > meta[A_LAST])
end

---------------------------------------------------------------------------------------------- tree: reading

local Tree = {}

function Tree:new_meta(from)
  local meta = { GROWN, from, 0, -1, -1, NO_EVENT_YET, 1, 1, 1, 0, 2, 0 }
  for i = 1, self.n do meta[META_COLS + i] = 0 end
  if self.extremes then meta[self.peaks_from] = -1 end
  return meta
end

function Tree:unpack_meta(raw) return { sunpack(self.meta_format, raw) } end

function Tree:pack_meta() return spack(self.meta_format, unpack(self.meta)) end

-- Headers of a counter that has only its first chunk are not stored: most groups never have another.
function Tree:first_header(name)
  if name == 'L' or name == 'l1' then return { 1 } end
  if name ~= 'c1' and name ~= 'b1' then return nil end
  local header = name == 'c1' and { 1, 0 } or { 0 }
  for _ = 1, self.n do header[#header + 1] = 0 end
  return header
end

function Tree:cached()
  local cache = self.cache
  if not cache then
    cache = {}
    self.cache = cache
  end
  return cache
end

function Tree:header(name)
  local cache = self:cached()
  local value = cache[name]
  if not value then
    local raw = call('HGET', self.key .. ':h', name)
    value = raw and msgunpack(raw) or self:first_header(name)
    cache[name] = value
  end
  return value
end

function Tree:put(name, value)
  self:cached()[name] = value
  call('HSET', self.key .. ':h', name, msgpack(value))
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

-- What is read of an event's counters is read after all is written, so totals are worked out once.
function Tree:total_all()
  local totals = self.all
  if not totals then
    local meta = self.meta
    totals = self:total(meta[OPEN], meta[N_OPEN], meta, META_COLS + 1)
    self.all = totals
  end
  return totals
end

function Tree:total_before_first()
  local totals = self.none
  if not totals then
    if self.meta[TRIMMED] == 0 then totals = self.zeros else
      local first_super = self:header('L')[1]
      totals = self:total(self:header('l' .. first_super)[1], 0, nil, 1)
    end
    self.none = totals
  end
  return totals
end

-- Rank of the last member at or before (t, arr), -1 if none. Binary search only among equal times.
local function locate(key, t, arr)
  local high = call('ZCOUNT', key, '-inf', num(t)) - 1
  if high < 0 then return -1 end
  local m = call('ZRANGE', key, high, high, 'WITHSCORES')
  if tonumber(m[2]) < t or arrival_of(m[1]) <= arr then return high end
  local low = call('ZCOUNT', key, '-inf', '(' .. num(t)) - 1
  while high - low > 1 do
    local middle = floor((low + high) / 2)
    if arrival_of(call('ZRANGE', key, middle, middle)[1]) <= arr then low = middle else high = middle end
  end
  return low
end

local function holds(key, rank, t, arr)
  if rank < 0 then return false end
  local m = call('ZRANGE', key, rank, rank, 'WITHSCORES')
  return tonumber(m[2]) == t and arrival_of(m[1]) == arr
end

-- Of events (time, arrival, what, one after another, in order) those that a grown counter lacks, in runs of which each
-- has none of its events between its first and its last; `rank` is that of the member before it.
local function runs_lacking(c, events, from)
  local n, key = #events - 2, c.key
  if is_newer(c.meta, events[from], events[from + 1]) then return { { unpack(events, from) } } end
  local first, last = num(events[from]), num(events[n])
  local there = call('ZRANGEBYSCORE', key, first, last, 'WITHSCORES')
  local rank, place = call('ZCOUNT', key, '-inf', '(' .. first) - 1, 1
  local runs, run = {}, nil
  for at = from, n, 3 do
    local t, arr = events[at], events[at + 1]
    local is_there = false
    while there[place] do
      local time, arrival = tonumber(there[place + 1]), arrival_of(there[place])
      if time > t or (time == t and arrival > arr) then break end
      is_there = time == t and arrival == arr
      rank, place, run = rank + 1, place + 2, nil
    end
    if not is_there then
      if not run then
        run = { rank = rank }
        runs[#runs + 1] = run
      end
      run[#run + 1], run[#run + 2], run[#run + 3] = t, arr, events[at + 2]
    end
  end
  return runs
end

function Tree:total_at_rank(rank)
  if rank < 0 then return self:total_before_first() end
  local m = self:unpack(call('ZRANGE', self.key, rank, rank)[1])
  return self:total(m[2], m[3], m, 4)
end

-- Totals of all events with time <= t. Neighbouring buckets and windows of one width ask for the same times: what was
-- found is kept.
function Tree:total_at_time(t)
  if t >= self.meta[T_LAST] then return self:total_all() end
  if t < self.meta[T_FIRST] then return self:total_before_first() end
  local found_at = self.totals_at
  if not found_at then
    found_at = {}
    self.totals_at = found_at
  end
  local totals = found_at[t]
  if not totals then
    local found = call('ZREVRANGEBYSCORE', self.key, num(t), '-inf', 'LIMIT', 0, 1)
    if found[1] then
      local m = self:unpack(found[1])
      totals = self:total(m[2], m[3], m, 4)
    else
      totals = self:total_before_first()
    end
    found_at[t] = totals
  end
  return totals
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
-- window that ends at the newest event is the first of them inside it. At most PEAKS of each are kept; meta
-- says at `peaks_from` from which time on they answer: a window that begins earlier is read from the headers.
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
    local middle = floor((low + high) / 2)
    local peak = peak_of(self, call('ZRANGE', self.key .. suffix, middle, middle)[1])
    if self:exceeds(suffix, value, peak) then high = middle else low = middle + 1 end
  end
  return low
end

-- Events that none of the peaks makes needless follow each other in `run` (time and member of each, the oldest first):
-- they come in at `place`, and those before it that `value`, the first one's, makes needless go.
function Tree:place_peaks(suffix, place, run, value, newest)
  local key = self.key .. suffix
  local kept = self:peaks_kept(suffix, place, value)
  -- Added first: a key whose last member goes is gone, and so is the time at which it expires.
  call('ZADD', key, unpack(run))
  if kept < place then call('ZREMRANGEBYRANK', key, kept, place - 1) end
  local size = newest and kept + #run / 2 or call('ZCARD', key)
  if size == #run / 2 and place == 0 then self.meta[UNTOLD] = 1 end
  local surplus = size - PEAKS
  if surplus > 0 then
    local last = call('ZRANGE', key, surplus - 1, surplus - 1, 'WITHSCORES')
    call('ZREMRANGEBYRANK', key, 0, surplus - 1)
    self.meta[self.peaks_from] = max(self.meta[self.peaks_from], tonumber(last[2]))
  end
end

-- The place of (t, arr) among the peaks, and the value of the one behind it, if any.
function Tree:peak_behind(suffix, t, arr, newest)
  local key = self.key .. suffix
  if newest then return call('ZCARD', key) end
  local place = locate(key, t, arr) + 1
  local after = call('ZRANGE', key, place, place)[1]
  return place, after and peak_of(self, after)
end

function Tree:add_peak(t, arr, value, newest)
  if not value then return end
  local run = { num(t), spack(VALUE[self.k], arr, unpack(value, 1, self.k)) }
  for _, suffix in ipairs({ ':x', ':n' }) do
    local place, after = self:peak_behind(suffix, t, arr, newest)
    if not (after and self:exceeds(suffix, after, value)) then
      self:place_peaks(suffix, place, run, value, newest)
    end
  end
end

-- As add_peak with each event of a run (time, arrival, delta) that has nothing between its first and its last.
function Tree:add_peaks(run, newest)
  for _, suffix in ipairs({ ':x', ':n' }) do
    local place, highest = self:peak_behind(suffix, run[1], run[2], newest)
    local found, first = {}, nil
    for at = #run - 2, 1, -3 do
      local value = self:value_of(run[at + 2], 1)
      if value and not (highest and self:exceeds(suffix, highest, value)) then
        highest, first = value, value
        found[#found + 1] = at
      end
    end
    local peaks = {}
    for i = #found, 1, -1 do
      local at = found[i]
      local value = self:value_of(run[at + 2], 1)
      peaks[#peaks + 1] = num(run[at])
      peaks[#peaks + 1] = spack(VALUE[self.k], run[at + 1], unpack(value, 1, self.k))
    end
    if first then self:place_peaks(suffix, place, peaks, first, newest) end
  end
end

-- An event was taken out: what it had made needless is not known any more, so peaks begin anew after the newest.
function Tree:forget_peaks()
  call('UNLINK', self.key .. ':x', self.key .. ':n')
  self.meta[UNTOLD] = 1
  self.meta[self.peaks_from] = max(self.meta[self.peaks_from], self.meta[T_LAST])
end

-- Extremes of (from, newest], or nil when the peaks do not reach back that far.
function Tree:peaks(from)
  if from < self.meta[self.peaks_from] then return nil end
  local high = call('ZRANGEBYSCORE', self.key .. ':x', '(' .. num(from), '+inf', 'LIMIT', 0, 1)[1]
  if not high then return {} end
  local low = call('ZRANGEBYSCORE', self.key .. ':n', '(' .. num(from), '+inf', 'LIMIT', 0, 1)[1]
  return { peak_of(self, low), peak_of(self, high) }
end

------------------------------------------------------------------------------------------------ tree: writing

-- Keep the columns of a superchunk's base below CARRY, so that they stay exact however many events came before.
function Tree:normalise(base)
  for i = 1, self.n do
    if self.carry[i] == 1 then
      local over = floor(base[i + 1] / CARRY)
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
  local cache = self:cached()
  local raws = call('HMGET', self.key .. ':h', unpack(names))
  for i, name in ipairs(names) do
    local header = cache[name] or raws[i] and msgunpack(raws[i]) or self:first_header(name)
    change(header)
    cache[name] = header
    pairs_[2 * i - 1], pairs_[2 * i] = name, msgpack(header)
  end
  call('HSET', self.key .. ':h', unpack(pairs_))
end

-- Everything after `chunk` has one event more (sign 1) or less (-1), or so many more.
function Tree:shift_after(chunk, sign, delta, events)
  local change = sign * (events or 1)
  local n = self.n
  local super = self:header('c' .. chunk)[1]
  local list = self:header('l' .. super)
  self:change_headers('c', list, index_of(list, chunk) + 1, function(header)
    header[2] = header[2] + change
    for i = 1, n do header[2 + i] = header[2 + i] + sign * delta[i] end
  end)
  local supers = self:header('L')
  self:change_headers('b', supers, index_of(supers, super) + 1, function(header)
    header[1] = header[1] + change
    for i = 1, n do header[1 + i] = header[1 + i] + sign * delta[i] end
    self:normalise(header)
  end)
end

function Tree:new_id()
  local id = self.meta[NEXT_ID]
  self.meta[NEXT_ID] = id + 1
  -- The first header: its hash begins now.
  if id == 2 then self.meta[UNTOLD] = 1 end
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

-- An event of `value` came into `chunk` of `super`.
function Tree:widen_headers(chunk, super, value)
  if not value then return end
  local h, x, y = self.key .. ':h', 'x' .. chunk, 'y' .. super
  local raws = call('HMGET', h, x, y)
  if not (raws[1] or raws[2]) then self.meta[UNTOLD] = 1 end
  local of_chunk, of_super = raws[1] and msgunpack(raws[1]) or {}, raws[2] and msgunpack(raws[2]) or {}
  local new_chunk, new_super = self:widen(of_chunk, value), self:widen(of_super, value)
  local is_wider = new_chunk[1] ~= of_chunk[1] or new_chunk[2] ~= of_chunk[2]
    or new_super[1] ~= of_super[1] or new_super[2] ~= of_super[2]
  if is_wider then call('HSET', h, x, msgpack(new_chunk), y, msgpack(new_super)) end
  local cache = self:cached()
  cache[x], cache[y] = new_chunk, new_super
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
    self:add_peak(t, arr, value, true)
    self:widen_headers(meta[OPEN], meta[SUPER], value)
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
  -- Added first: a key whose last member goes is gone, and so is the time at which it expires.
  if #new > 0 then call('ZADD', self.key, unpack(new)) end
  if #gone > 0 then call('ZREM', self.key, unpack(gone)) end
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
  call('ZADD', self.key, unpack(new))
  call('ZREM', self.key, unpack(gone))
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
    self:widen_headers(chunk, super, value)
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

-- Runs: events (time, arrival, delta of each, one after another) that follow each other in the counter as well, nothing
-- between them. What is changed for each when it comes by itself is changed for all of them at once.
local RUN_LEAST = 8

-- Continue `chunk`, of which the last totals are `held` events and `cols`, with the run's events from `at` on until it is
-- full; returns where to go on, how many it holds now, and the extremes of what came in.
function Tree:continue(chunk, held, cols, run, at)
  local n, sent, place, low, high = self.n, { self.key }, 1, nil, nil
  while run[at] and held < CHUNK do
    local delta = run[at + 2]
    held = held + 1
    for i = 1, n do cols[i] = cols[i] + delta[i] end
    sent[place + 1], sent[place + 2] = num(run[at]), self:pack(run[at + 1], chunk, held, cols, 1)
    place = place + 2
    local value = self.extremes and self:value_of(delta, 1)
    if value then
      if not low or less(value, low, self.k) then low = value end
      if not high or less(high, value, self.k) then high = value end
    end
    at = at + 3
  end
  if place > 1 then call('ZADD', unpack(sent)) end
  return at, held, low and { low, high } or {}
end

-- An event or several came into `chunk` of `super`, of these extremes.
function Tree:merge_into_headers(chunk, super, extremes)
  if extremes[1] then
    self:widen_headers(chunk, super, extremes[1])
    self:widen_headers(chunk, super, extremes[2])
  end
end

function Tree:append_run(run)
  local meta, n, at = self.meta, self.n, 1
  local cols = { unpack(meta, META_COLS + 1, META_COLS + n) }
  while run[at] do
    if meta[N_OPEN] >= CHUNK then
      self:open_chunk()
      for i = 1, n do cols[i] = 0 end
    end
    local extremes
    at, meta[N_OPEN], extremes = self:continue(meta[OPEN], meta[N_OPEN], cols, run, at)
    for i = 1, n do meta[META_COLS + i] = cols[i] end
    self:merge_into_headers(meta[OPEN], meta[SUPER], extremes)
  end
  meta[T_LAST], meta[A_LAST] = run[#run - 2], run[#run - 1]
  if self.extremes then self:add_peaks(run, true) end
end

-- A run behind `rank`: what follows it in that one's chunk becomes a chunk of its own, and chunks of the run come between.
function Tree:insert_run(run, rank)
  local meta, n, key = self.meta, self.n, self.key
  local first = self:unpack(call('ZRANGE', key, max(rank, 0), max(rank, 0))[1])
  local chunk, held, cols = first[2], 0, {}
  if rank >= 0 then held = first[3] end
  for i = 1, n do cols[i] = rank >= 0 and first[3 + i] or 0 end
  local first_rank, size = rank + 1 - held, held
  local header = self:header('c' .. chunk)
  local super, list = header[1], self:header('l' .. header[1])
  -- Before the run, in the chunk.
  local gap = { held, unpack(cols) }
  local following = call('ZRANGE', key, rank + 1, rank + 2 * CHUNK + 1, 'WITHSCORES')

  -- Totals of the superchunk up to the end of `open`, the chunk that the run goes on in.
  local open, at = chunk, 1
  local base = { header[2], unpack(header, 3, n + 2) }
  local place = index_of(list, chunk)
  local function next_chunk()
    base[1] = base[1] + held
    for i = 1, n do base[i + 1] = base[i + 1] + cols[i] end
    open = self:new_id()
    self:put('c' .. open, { super, unpack(base) })
    place = place + 1
    table.insert(list, place, open)
    held = 0
    for i = 1, n do cols[i] = 0 end
  end
  while run[at] do
    if held >= CHUNK then next_chunk() end
    local extremes
    at, held, extremes = self:continue(open, held, cols, run, at)
    if open == chunk then size = max(size, held)
    elseif self.extremes then self:put('x' .. open, extremes) end
  end

  local gone, new = {}, { key }
  local last = { held, unpack(cols) }
  for i = 1, #following, 2 do
    local m = self:unpack(following[i])
    if m[2] ~= chunk then break end
    if i == 1 then next_chunk() end
    gone[#gone + 1] = following[i]
    for j = 1, n do m[3 + j] = m[3 + j] - gap[j + 1] end
    new[#new + 1] = following[i + 1]
    last = { m[3] - gap[1], unpack(m, 4) }
    new[#new + 1] = self:pack(m[1], open, last[1], m, 4)
  end
  if #gone > 0 then
    call('ZADD', unpack(new))
    call('ZREM', key, unpack(gone))
  end
  self:put('l' .. super, list)
  if chunk == meta[OPEN] then
    meta[OPEN], meta[N_OPEN] = open, last[1]
    for i = 1, n do meta[META_COLS + i] = last[i + 1] end
  end

  local delta = {}
  for i = 1, n do delta[i] = 0 end
  for i = 3, #run, 3 do for j = 1, n do delta[j] = delta[j] + run[i][j] end end
  self:shift_after(open, 1, delta, #run / 3)
  if self.extremes then
    self:add_peaks(run)
    self:chunk_extremes(chunk, first_rank, size)
    if #gone > 0 then self:chunk_extremes(open, rank + 1 + #run / 3, #gone) end
    self:super_extremes(super)
  end
  self:split_super(super)
end

-- Many events in order, of which some may be there already.
function Tree:insert_all(events, from)
  local meta = self.meta
  meta[T_FIRST] = min(meta[T_FIRST], events[from])
  local runs = runs_lacking(self, events, from)
  -- The last first: the ranks before it stay what they are.
  for i = #runs, 1, -1 do
    local run = runs[i]
    if is_newer(meta, run[1], run[2]) then self:append_run(run)
    elseif #run < 3 * RUN_LEAST or call('ZCARD', self.key) == 0 then
      for at = 1, #run, 3 do self:insert(run[at], run[at + 1], run[at + 2]) end
    else self:insert_run(run, run.rank) end
  end
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
  self.meta[UNTOLD] = 1
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
  self.meta[FLOOR] = max(self.meta[FLOOR], last_time)
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
      call('HDEL', self.key .. ':h', 'c' .. list[1], 'x' .. list[1])
      table.remove(list, 1)
    end
    if #list > 0 then
      self:put('l' .. super, list)
      self:super_extremes(super)
    else
      call('HDEL', self.key .. ':h', 'l' .. super, 'b' .. super, 'y' .. super)
      table.remove(supers, 1)
    end
  end
  self:put('L', supers)
end

------------------------------------------------------------------------------------------- distinct and log

local Log = {}

function Log:new_meta(from)
  return { GROWN, from, 0, -1, -1, NO_EVENT_YET, 1, 0, 0, -1, 0, -1, 0, 0 }
end

function Log:unpack_meta(raw)
  if #raw > KEPT_META_BYTES then return { sunpack(SOUGHT_META, raw) } end
  local meta
  if #raw > LOG_META_BYTES then meta = { sunpack(KEPT_META, raw) } else
    meta = { sunpack(LOG_META, raw) }
    meta[KEPT_FROM], meta[KEPT_UNTIL], meta[KEPT_FROM_BEFORE], meta[KEPT_UNTIL_BEFORE] = -1, 0, -1, 0
  end
  meta[SOUGHT] = 0
  return meta
end

function Log:pack_meta()
  local meta = self.meta
  local packed = meta[SOUGHT] > 0 and SOUGHT_META or meta[KEPT_UNTIL] > 0 and KEPT_META or LOG_META
  return spack(packed, unpack(meta))
end

function Log:trim(horizon)
  local key, meta = self.key, self.meta
  local n
  if self.cap > 0 then n = meta[HELD] - self.cap
  elseif horizon < meta[T_FIRST] then return
  else n = call('ZCOUNT', key, '-inf', num(horizon)) end
  if n <= 0 then return end
  if n > 2 * CHUNK then n = 2 * CHUNK end
  local oldest = call('ZRANGE', key, 0, n - 1, 'WITHSCORES')
  local settled, kept_from = NOW_US - IN_FLIGHT_US, FOREVER
  if NOW_US < meta[KEPT_UNTIL] then kept_from = meta[KEPT_FROM] end
  if NOW_US < meta[KEPT_UNTIL_BEFORE] then kept_from = min(kept_from, meta[KEPT_FROM_BEFORE]) end
  for i = 1, #oldest, 2 do
    if arrival_of(oldest[i]) > settled or tonumber(oldest[i + 1]) > kept_from then
      n = (i - 1) / 2
      break
    end
  end
  if n == 0 then return end
  local last_time = tonumber(oldest[2 * n])
  meta[FLOOR] = max(meta[FLOOR], last_time)
  meta[HELD] = meta[HELD] - call('ZREMRANGEBYRANK', key, 0, n - 1)
  local is_first_known = true
  if self.kind == 'distinct' then
    local old = call('ZCOUNT', key .. ':d', '-inf', num(meta[FLOOR]))
    if old > 0 then
      meta[VALUES] = meta[VALUES] - call('ZREMRANGEBYRANK', key .. ':d', 0, min(old, 2 * CHUNK) - 1)
    end
    is_first_known = old <= 2 * CHUNK
  end
  if is_first_known then meta[T_FIRST] = max(meta[T_FIRST], last_time) end
end

function Log:insert(t, arr, payload)
  local key, meta = self.key, self.meta
  local text = num(t)
  if call('ZADD', key, text, spack('>I7', arr) .. payload) == 1 then meta[HELD] = meta[HELD] + 1 end
  if self.kind == 'distinct' and payload ~= '' and call('ZADD', key .. ':d', 'GT', text, payload) == 1 then
    meta[VALUES] = meta[VALUES] + 1
    if meta[VALUES] == 1 then meta[UNTOLD] = 1 end
  end
  if meta[SOUGHT] > 0 and payload ~= '' then self:seek_again(payload, t) end
  if t < meta[T_FIRST] then meta[T_FIRST] = t end
  if is_newer(meta, t, arr) then meta[T_LAST], meta[A_LAST] = t, arr end
end

-- Many events in order, of which some may be there already.
function Log:insert_all(events, from)
  local key, meta = self.key, self.meta
  local sent, seen = { key }, {}
  for _, run in ipairs(runs_lacking(self, events, from)) do
    for at = 1, #run, 3 do
      local t, payload = run[at], run[at + 2] == true and '' or run[at + 2]
      sent[#sent + 1] = num(t)
      sent[#sent + 1] = spack('>I7', run[at + 1]) .. payload
      if payload ~= '' then
        seen[payload] = t
        if meta[SOUGHT] > 0 then self:seek_again(payload, t) end
      end
    end
  end
  if #sent > 1 then meta[HELD] = meta[HELD] + call('ZADD', unpack(sent)) end
  if self.kind == 'distinct' and next(seen) then
    sent = { key .. ':d', 'GT' }
    for payload, t in pairs(seen) do
      sent[#sent + 1] = num(t)
      sent[#sent + 1] = payload
    end
    meta[VALUES] = meta[VALUES] + call('ZADD', unpack(sent))
  end
  meta[T_FIRST] = min(meta[T_FIRST], events[from])
  local t, arr = events[#events - 2], events[#events - 1]
  if is_newer(meta, t, arr) then meta[T_LAST], meta[A_LAST] = t, arr end
end

function Log:find(t, arr)
  local rank = locate(self.key, t, arr)
  if holds(self.key, rank, t, arr) then return call('ZRANGE', self.key, rank, rank)[1] end
end

-- When a value was seen last is not known by looking something up: after its last event was taken out, the one before is
-- looked for, SEEK_EVENTS a call. What is not found yet is in the hash `<key>:s`, by value: when it is said to have been seen,
-- and where to go on (time, arrival); whoever counts goes on. Until then the value keeps its time, which can only count too
-- many.
local SEEK_EVENTS, SEEK_PAGE = 2000, 500
local SOUGHT_AT = '>I7I7I7'
-- Later than every arrival of a time.
local LAST = 9e15

-- The time of the newest event of `value` up to (t, arr); if none is met yet, nil and where to go on; nil: there is none.
function Log:seek(value, t, arr)
  local key, rank = self.key, locate(self.key, t, arr)
  local stop = max(rank - SEEK_EVENTS, -1)
  while rank > stop do
    local from = max(rank - SEEK_PAGE, stop) + 1
    local page = call('ZRANGE', key, from, rank, 'WITHSCORES')
    for i = #page - 1, 1, -2 do
      if page[i]:sub(8) == value then return page[i + 1] end
    end
    rank = from - 1
  end
  if rank < 0 then return nil end
  local behind = call('ZRANGE', key, rank, rank, 'WITHSCORES')
  return nil, tonumber(behind[2]), arrival_of(behind[1])
end

function Log:seek_on(value, seen, t, arr)
  local key, meta = self.key, self.meta
  local found, next_t, next_arr = self:seek(value, t, arr)
  if next_t then
    meta[SOUGHT] = meta[SOUGHT] + call('HSET', key .. ':s', value, spack(SOUGHT_AT, seen, next_t, next_arr))
    meta[UNTOLD] = 1
    return
  end
  if found then call('ZADD', key .. ':d', found, value)
  else meta[VALUES] = meta[VALUES] - call('ZREM', key .. ':d', value) end
  self:give_up_seeking(value)
end

function Log:give_up_seeking(value)
  local meta = self.meta
  if meta[SOUGHT] > 0 then meta[SOUGHT] = meta[SOUGHT] - call('HDEL', self.key .. ':s', value) end
end

-- Look on for one of the values.
function Log:seek_more()
  local value, at = unpack(call('HRANDFIELD', self.key .. ':s', 1, 'WITHVALUES'))
  if not value then self.meta[SOUGHT] = 0 return end
  local seen, t, arr = sunpack(SOUGHT_AT, at)
  -- Seen again meanwhile, or of no interest any more.
  if tonumber(call('ZSCORE', self.key .. ':d', value) or -1) ~= seen then return self:give_up_seeking(value) end
  self:seek_on(value, seen, t, arr)
end

-- An event of `value` at t was taken out.
function Log:forget_value(value, t)
  local seen = tonumber(call('ZSCORE', self.key .. ':d', value) or -1)
  if seen == t then self:seek_on(value, seen, t, LAST) end
end

-- An event of `value` at t came in: it may be where nobody would look any more.
function Log:seek_again(value, t)
  local at = call('HGET', self.key .. ':s', value)
  if not at then return end
  local seen = sunpack(SOUGHT_AT, at)
  if t <= seen then call('HSET', self.key .. ':s', value, spack(SOUGHT_AT, seen, seen, LAST)) end
end

function Log:remove(t, arr)
  local member = self:find(t, arr)
  if not member then return false end
  local meta = self.meta
  meta[HELD] = meta[HELD] - call('ZREM', self.key, member)
  if meta[HELD] == 0 then meta[UNTOLD] = 1 end
  if self.kind == 'distinct' and #member > 7 then self:forget_value(member:sub(8), t) end
  return true
end

-- Beyond so many events the caller counts distinct values, page by page.
local DISTINCT_BOUND = 2000

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

------------------------------------------------------------------------------------------------------ young

-- By number of columns and events.
local YOUNG_META = {}
local function young_format(n, held)
  local formats = YOUNG_META[n]
  if not formats then
    formats = {}
    YOUNG_META[n] = formats
  end
  local found = formats[held]
  if not found then
    found = HEAD .. string.rep('i7I7' .. string.rep('i6', n), held)
    formats[held] = found
  end
  return found
end

function Tree:unpack_young(raw)
  local meta = { sunpack(young_format(self.n, (#raw - HEAD_BYTES) / (14 + 6 * self.n)), raw) }
  -- Where unpacking ended.
  meta[#meta] = nil
  return meta
end

function Tree:pack_young()
  local meta = self.meta
  return spack(young_format(self.n, (#meta - YOUNG_EVENTS + 1) / self.stride), unpack(meta))
end

function Log:unpack_young(raw)
  local meta = { sunpack(HEAD, raw) }
  local events = msgunpack(raw:sub(HEAD_BYTES + 1))
  for i = 1, #events do meta[YOUNG_EVENTS - 1 + i] = events[i] end
  meta[YOUNG_EVENTS + #events] = nil
  return meta
end

function Log:pack_young()
  local meta = self.meta
  return spack(HEAD, meta[1], meta[2], meta[3]) .. msgpack({ unpack(meta, YOUNG_EVENTS) })
end

-- How many events of a young counter have a time <= t, and how many come at or before (t, arr).
local function young_up_to(meta, stride, t)
  local at = #meta + 1 - stride
  while at >= YOUNG_EVENTS and meta[at] > t do at = at - stride end
  return (at - YOUNG_EVENTS) / stride + 1
end

local function young_up_to_event(meta, stride, t, arr)
  local at = #meta + 1 - stride
  while at >= YOUNG_EVENTS and (meta[at] > t or (meta[at] == t and meta[at + 1] > arr)) do at = at - stride end
  return (at - YOUNG_EVENTS) / stride + 1
end

local function young_holds(meta, stride, rank, t, arr)
  local at = YOUNG_EVENTS + (rank - 1) * stride
  return rank > 0 and meta[at] == t and meta[at + 1] == arr
end

local function young_forget(meta, stride, rank)
  local at = YOUNG_EVENTS + (rank - 1) * stride
  for i = at, #meta do meta[i] = meta[i + stride] end
end

-- False when it is full: then it has to grow first. `horizon` (or false): the oldest event may go when it is not after.
local function young_insert(c, t, arr, what, horizon)
  local meta, stride = c.meta, c.stride
  local held = (#meta - YOUNG_EVENTS + 1) / stride
  local rank = young_up_to_event(meta, stride, t, arr)
  if young_holds(meta, stride, rank, t, arr) then return true end
  if held >= YOUNG_MOST then
    local oldest = meta[YOUNG_EVENTS]
    if not horizon or held == 0 or rank < held or oldest > horizon or meta[YOUNG_EVENTS + 1] > NOW_US - IN_FLIGHT_US then
      return false
    end
    meta[FLOOR] = max(meta[FLOOR], oldest)
    young_forget(meta, stride, 1)
    rank = rank - 1
  end
  local at = YOUNG_EVENTS + rank * stride
  for i = #meta, at, -1 do meta[i + stride] = meta[i] end
  meta[at], meta[at + 1] = t, arr
  if c.kind ~= 'tree' then meta[at + 2] = what == true and '' or what
  else for i = 1, c.n do meta[at + 1 + i] = what[i] end end
  return true
end

local function young_remove(c, t, arr)
  local meta, stride = c.meta, c.stride
  local rank = young_up_to_event(meta, stride, t, arr)
  if not young_holds(meta, stride, rank, t, arr) then return false end
  young_forget(meta, stride, rank)
  return true
end

-- From here on it is kept in keys of its own.
local function grow(c)
  local young, stride = c.meta, c.stride
  local meta = c:new_meta(young[FLOOR])
  meta[EXPIRES] = young[EXPIRES]
  c.meta = meta
  c.key = c.group.prefix .. c.suffix
  for at = YOUNG_EVENTS, #young, stride do
    c:insert(young[at], young[at + 1], c.kind == 'tree' and { unpack(young, at + 2, at + stride - 1) } or young[at + 2])
  end
end

function Tree:young_total(rank)
  local sums = self.all
  if not sums then
    sums = { [0] = self.zeros }
    self.all = sums
  end
  local total = sums[rank]
  if not total then
    local before = self:young_total(rank - 1)
    local at = YOUNG_EVENTS + (rank - 1) * self.stride + 1
    total = { rank }
    for i = 1, self.n do total[i + 1] = before[i + 1] + self.meta[at + i] end
    sums[rank] = total
  end
  return total
end

function Tree:young_extremes(first, last)
  local x = {}
  for rank = first, last do
    x = self:widen(x, self:value_of(self.meta, YOUNG_EVENTS + (rank - 1) * self.stride + 2))
  end
  return x
end

function Tree:young_read_one(read, t, arr)
  local meta, stride = self.meta, self.stride
  local kind, width, delay = read[1], read[2], read[3]
  local to = t - delay
  local from = width < 0 and -1 or to - width
  local rank = delay > 0 and young_up_to(meta, stride, to) or young_up_to_event(meta, stride, t, arr)
  if kind == FIRST then
    local at = YOUNG_EVENTS + young_up_to(meta, stride, from) * stride
    local time = meta[at]
    if not time or time > to then return false end
    if time == t and (meta[at + 1] > arr or (read[4] == 1 and meta[at + 1] == arr)) then return false end
    return time
  end
  if read[4] == 1 and delay == 0 and young_holds(meta, stride, rank, t, arr) then rank = rank - 1 end
  if kind == PREVIOUS then
    local time = rank > 0 and meta[YOUNG_EVENTS + (rank - 1) * stride]
    return time and time > from and time
  end
  return self:young_extremes((width < 0 and 0 or young_up_to(meta, stride, from)) + 1, rank)
end

function Tree:read_young(t, arr, out)
  local meta, stride, n = self.meta, self.stride, self.n
  local at = #out
  local own
  for _, read in ipairs(self.reads) do
    if read[1] == SUMS then
      local width, delay = read[2], read[3]
      local upper, lower = nil, 0
      if delay > 0 then upper = young_up_to(meta, stride, t - delay)
      else
        own = own or young_up_to_event(meta, stride, t, arr)
        upper = own
      end
      if width >= 0 and upper > 0 then lower = young_up_to(meta, stride, t - delay - width) end
      if n == 0 or upper == lower then
        out[at + 1] = upper - lower
        for i = 1, n do out[at + 1 + i] = 0 end
      else
        upper, lower = self:young_total(upper), self:young_total(lower)
        for i = 1, n + 1 do out[at + i] = upper[i] - lower[i] end
      end
      at = at + n + 1
    else
      at = at + 1
      out[at] = self:young_read_one(read, t, arr)
    end
  end
end

-- Whether a page of the log would be full: the caller may ask for what comes before it, which must have a key.
function Log:fills_page(t)
  if not self.has_small_page then return false end
  local meta, stride = self.meta, self.stride
  for _, read in ipairs(self.reads) do
    if read[1] == LOG then
      local to = t - read[3]
      local from = read[2] < 0 and -1 or to - read[2]
      if young_up_to(meta, stride, to) - young_up_to(meta, stride, from) >= read[5] then return true end
    end
  end
  return false
end

function Log:young_distinct(first, last, t, arr, exclude)
  local meta, seen, n = self.meta, {}, 0
  for rank = first, last do
    local at = YOUNG_EVENTS + (rank - 1) * 3
    local a, value = meta[at + 1], meta[at + 2]
    local is_later = meta[at] == t and (a > arr or (exclude and a == arr))
    if value ~= '' and not is_later and not seen[value] then
      seen[value] = true
      n = n + 1
    end
  end
  return n
end

function Log:read_young(t, arr, out, marks, members)
  local meta, stride = self.meta, self.stride
  for _, page in ipairs(self.pages) do
    local to = t - page.delay
    local last = page.delay > 0 and young_up_to(meta, stride, to) or young_up_to_event(meta, stride, t, arr)
    local first = (page.width < 0 and 0 or young_up_to(meta, stride, to - page.width)) + 1
    first = max(first, last - page.limit + 1)
    local mark = #marks + 1
    marks[mark] = max(0, last - first + 1)
    for rank = last, first, -1 do
      local at = YOUNG_EVENTS + (rank - 1) * stride
      local payload = meta[at + 2]
      marks[mark + 1], marks[mark + 2] = meta[at], 7 + #payload
      mark = mark + 2
      members[#members + 1] = spack('>I7', meta[at + 1]) .. payload
    end
  end
  local at = #out
  for i, read in ipairs(self.reads) do
    local kind, width, delay = read[1], read[2], read[3]
    local to = t - delay
    local first = (width < 0 and 0 or young_up_to(meta, stride, to - width)) + 1
    local last
    if kind ~= DISTINCT and delay == 0 then last = young_up_to_event(meta, stride, t, arr)
    else last = young_up_to(meta, stride, to) end
    if kind == DISTINCT then out[at + i] = self:young_distinct(first, last, t, arr, read[4] == 1)
    else
      local value = max(0, last - first + 1)
      out[at + i] = kind == LOG and min(value, read[5]) or value
    end
  end
end

------------------------------------------------------------------------------------------------ one counter

-- Shapes: what is the same of a counter for every group and event, and what is read of it. Callers name them by number and
-- tell a server those it does not know ('shapes'). Forgotten by halves, so that what was told a moment ago is there.
local SHAPES_KEPT = 4000
local shapes, shapes_before, shapes_n = {}, {}, 0

local function remember(number, shape)
  if shapes_n >= SHAPES_KEPT then shapes_before, shapes, shapes_n = shapes, {}, 0 end
  shapes[number] = shape
  shapes_n = shapes_n + 1
  return shape
end

local function shape_known(number)
  local shape = shapes[number]
  if shape then return shape end
  shape = shapes_before[number]
  return shape and remember(number, shape)
end

-- Pages: the log reads of one delay are told from one page, the longest of them.
local function page_reads(shape)
  local pages, by_delay = {}, {}
  for i, read in ipairs(shape.reads) do
    if read[1] == LOG then
      local page = by_delay[read[3]]
      if not page then
        page = { width = read[2], delay = read[3], limit = read[5] }
        by_delay[read[3]] = page
        pages[#pages + 1] = page
      end
      if page.width >= 0 then page.width = read[2] < 0 and -1 or max(page.width, read[2]) end
      page.limit = max(page.limit, read[5])
      shape.has_small_page = shape.has_small_page or (shape.cap == 0 and read[5] <= YOUNG_MOST)
      read.page = page
    end
  end
  return pages
end

-- As sent: see `plan.Shape`.
local function shape_of(sent)
  local kind = sent[2]
  local shape = { id = sent[1], kind = kind, ttl = sent[3], retention = sent[4], n = sent[5], carry = sent[6],
    vo = sent[7], k = sent[8], null_at = sent[9], extremes = sent[10] == 1, cap = sent[11], floor_back = sent[12],
    lookback = sent[13], reads = sent[14] }
  shape.suffix = ':' .. shape.id
  shape.stride = 2 + (kind == 'tree' and shape.n or 1)
  shape.told_ttl = floor(shape.ttl * 9 / 8)
  if kind == 'tree' then
    shape.peaks_from = META_COLS + shape.n + 1
    shape.meta_format = TREE_META .. string.rep('i6', shape.n) .. (shape.extremes and 'i7' or '')
    shape.zeros = {}
    for i = 1, shape.n + 1 do shape.zeros[i] = 0 end
  else
    shape.pages = page_reads(shape)
  end
  for _, read in ipairs(shape.reads) do
    if read[4] == 1 and read[3] == 0 then
      shape.asks_before = shape.asks_before or read[1] == MIN_MAX or read[1] == DISTINCT
    end
  end
  shape.instance = { __index = shape }
  return setmetatable(shape, { __index = kind == 'tree' and Tree or Log })
end

-- Groups with their counters, as sent: tags, and for each counter the number of its shape, of its tag, and what to count
-- (false: nothing; a tree's delta; a log's payload; true: an event without either). Returns {counters, groups}, each
-- counter with its meta, if it has any; nil when a shape is not known.
local function open(base, tags, wires)
  local groups, counters = {}, {}
  for i, tag in ipairs(tags) do
    local prefix = base .. tag
    groups[i] = { prefix = prefix, key = prefix .. ':m', asked = { prefix .. ':m', 'e' }, wants = 0 }
  end
  local n = 0
  for i = 1, #wires, 3 do
    local shape = shapes[wires[i]] or shape_known(wires[i])
    if not shape then return nil end
    local group = groups[wires[i + 1]]
    local asked = group.asked
    local place = #asked
    asked[place + 1] = shape.id
    n = n + 1
    counters[n] = setmetatable({ group = group, place = place, what = wires[i + 2], meta = false, all = false,
      is_changed = false, key = false, has_ended = false }, shape.instance)
  end
  for _, group in ipairs(groups) do
    local metas = call('HMGET', unpack(group.asked))
    local ends = metas[1]
    group.ends = ends and (ends == 'f' and FOREVER or tonumber(ends)) or 0
    group.metas = metas
  end
  for i = 1, n do
    local c = counters[i]
    local raw = c.group.metas[c.place]
    if raw then
      local meta
      if raw:byte() == YOUNG then meta = c:unpack_young(raw) else
        meta = c:unpack_meta(raw)
        c.key = c.group.prefix .. c.suffix
      end
      if meta[EXPIRES] > 0 and NOW_MS > meta[EXPIRES] then c.has_ended = meta[AGE] == GROWN else c.meta = meta end
    end
  end
  return counters, groups
end

-- The counter is about to get its first event: with that it is saved, and told when to end.
local function create(c, from)
  if c.has_ended then call('UNLINK', c.key, c.key .. ':h', c.key .. ':x', c.key .. ':n', c.key .. ':d', c.key .. ':s') end
  c.group.is_grown = c.group.ends > 0
  c.meta = { YOUNG, from, 0 }
end

-- Meta will be stored with the group's others (`store`).
local function put_meta(c)
  local group = c.group
  if not group.changed then group.changed = {} end
  if not c.is_changed then
    c.is_changed = true
    group.changed[#group.changed + 1] = c
  end
  group.wants = max(group.wants, c.ttl == 0 and FOREVER or c.meta[EXPIRES])
end

-- Sees to it that the counter's keys live for c.ttl from now on; they are told so again only after an eighth of that.
local function save(c)
  local meta, key = c.meta, c.key
  if meta[AGE] == YOUNG then
    if c.ttl > 0 and meta[EXPIRES] < NOW_MS + c.ttl then meta[EXPIRES] = NOW_MS + c.told_ttl end
  elseif c.ttl > 0 and (meta[UNTOLD] == 1 or meta[EXPIRES] < NOW_MS + c.ttl) then
    meta[EXPIRES] = NOW_MS + c.told_ttl
    meta[UNTOLD] = 0
    local at = num(meta[EXPIRES])
    call('PEXPIREAT', key, at)
    if c.kind == 'tree' then
      if c.extremes or meta[NEXT_ID] > 2 then call('PEXPIREAT', key .. ':h', at) end
      if c.extremes then
        call('PEXPIREAT', key .. ':x', at)
        call('PEXPIREAT', key .. ':n', at)
      end
    elseif c.kind == 'distinct' then
      call('PEXPIREAT', key .. ':d', at)
      if meta[SOUGHT] > 0 then call('PEXPIREAT', key .. ':s', at) end
    end
  end
  put_meta(c)
end

-- A group that lives for ever keeps what is left of counters that ended: dropped when others begin.
local METAS_KEPT = 64
local function sweep(group)
  if call('HLEN', group.key) < METAS_KEPT then return end
  local all = call('HGETALL', group.key)
  for i = 1, #all, 2 do
    if all[i] ~= 'e' then
      local ends = sunpack('>I6', all[i + 1], EXPIRES_AT)
      if ends > 0 and ends < NOW_MS then call('HDEL', group.key, all[i]) end
    end
  end
end

-- Store the metas that changed. The hash lives as long as the longest of its counters, `e` says until when.
local function store(groups)
  for _, group in ipairs(groups) do
    local changed = group.changed
    if changed then
      local sent, n = { group.key }, 1
      for _, c in ipairs(changed) do
        sent[n + 1] = c.id
        sent[n + 2] = c.meta[AGE] == YOUNG and c:pack_young() or c:pack_meta()
        n = n + 2
      end
      local wants = group.wants
      local is_longer = wants > group.ends
      if is_longer then sent[n + 1], sent[n + 2] = 'e', wants == FOREVER and 'f' or num(wants) end
      call('HSET', unpack(sent))
      if is_longer then
        if wants == FOREVER then call('PERSIST', group.key) else call('PEXPIREAT', group.key, num(wants)) end
      end
      if group.is_grown then sweep(group) end
    end
  end
end

-- Count (t, arr): `what` as sent. Meta is changed with the counter and saved.
function Tree:write(t, arr, delta)
  local meta = self.meta
  local chunk = meta[OPEN]
  self:insert(t, arr, delta)
  -- A late event's own window may reach what was filled back in for it: only the newest event trims.
  if meta[OPEN] ~= chunk and self.retention > 0 and t == meta[T_LAST] then self:trim(t - self.retention) end
  save(self)
end

function Log:write(t, arr, payload)
  local meta = self.meta
  if payload == true then payload = '' end
  if is_newer(meta, t, arr) or not self:find(t, arr) then self:insert(t, arr, payload) end
  if (self.retention > 0 or self.cap > 0) and t == meta[T_LAST] then self:trim(t - self.retention) end
  save(self)
end

-- Reads: {kind, width (-1: lifetime), delay, exclude current, limit}. What they come to is appended to `out` one after
-- another: of SUMS 1 + n numbers of a tree, one of a log; of MIN_MAX a list; of the others one value.

-- Extremes without the event that is about to be counted as the newest, by place in the reads.
function Tree:before(t, arr)
  local found = {}
  if not is_newer(self.meta, t, arr) then return found end
  for i, read in ipairs(self.reads) do
    if read[1] == MIN_MAX and read[4] == 1 and read[3] == 0 then
      found[i] = self:peaks(read[2] < 0 and -1 or t - read[2])
    end
  end
  return found
end

function Tree:total_up_to(t, arr)
  local totals = self.own
  if not totals then
    totals = self:total_at_rank(locate(self.key, t, arr))
    self.own = totals
  end
  return totals
end

function Tree:read_one(read, t, arr, newest)
  local kind, width, delay = read[1], read[2], read[3]
  local key = self.key
  local to = t - delay
  local from = width < 0 and -1 or to - width
  if kind == FIRST then
    local found = call('ZRANGEBYSCORE', key, '(' .. num(from), num(to), 'LIMIT', 0, 1, 'WITHSCORES')
    if not found[1] then return false end
    local time, a = tonumber(found[2]), arrival_of(found[1])
    if time == t and (a > arr or (read[4] == 1 and a == arr)) then return false end
    return time
  end
  local rank = delay > 0 and call('ZCOUNT', key, '-inf', num(to)) - 1 or locate(key, t, arr)
  if read[4] == 1 and delay == 0 and holds(key, rank, t, arr) then rank = rank - 1 end
  if kind == PREVIOUS then
    if rank < 0 then return false end
    local time = tonumber(call('ZRANGE', key, rank, rank, 'WITHSCORES')[2])
    return time > from and time
  end
  local at_newest = newest and delay == 0 and (read[4] == 0 or self.what == false)
  local peaks = at_newest and self:peaks(from)
  return peaks or self:extremes_of(width < 0 and 0 or call('ZCOUNT', key, '-inf', num(from)), rank)
end

function Tree:read(t, arr, newest, before, out)
  local at, n = #out, self.n
  for i, read in ipairs(self.reads) do
    if read[1] == SUMS then
      local width, delay = read[2], read[3]
      local upper, lower
      if delay > 0 then upper = self:total_at_time(t - delay)
      elseif newest then upper = self:total_all()
      else upper = self:total_up_to(t, arr) end
      if width < 0 then lower = self:total_before_first() else lower = self:total_at_time(t - delay - width) end
      for j = 1, n + 1 do out[at + j] = upper[j] - lower[j] end
      at = at + n + 1
    else
      local value
      if before then value = before[i] end
      if value == nil then value = self:read_one(read, t, arr, newest) end
      at = at + 1
      out[at] = value
    end
  end
end

-- The caller may ask for what comes before this page. Told at most every PAGES_READ_US, unless it begins earlier.
local function keep_for_pages(c, from)
  local meta = c.meta
  local is_told = NOW_US + PAGES_READ_US <= meta[KEPT_UNTIL]
  if is_told and from >= meta[KEPT_FROM] then return end
  if not is_told then
    meta[KEPT_FROM_BEFORE], meta[KEPT_UNTIL_BEFORE] = meta[KEPT_FROM], meta[KEPT_UNTIL]
    meta[KEPT_UNTIL] = NOW_US + 2 * PAGES_READ_US
  end
  meta[KEPT_FROM] = from
  put_meta(c)
end

-- How many events have a time <= t.
function Log:count_up_to(t)
  local meta = self.meta
  if t < meta[T_FIRST] then return 0 end
  if t >= meta[T_LAST] then return meta[HELD] end
  return call('ZCOUNT', self.key, '-inf', num(t))
end

-- Appends to `marks` how many events the page has and each one's time and length, to `members` the events.
function Log:read_page(page, t, arr, newest, marks, members)
  local to = t - page.delay
  local from = page.width < 0 and -1 or to - page.width
  local found = {}
  if to >= self.meta[T_FIRST] then
    -- What came later at the same time would take the places of what came before.
    local later = 0
    if page.delay == 0 and not newest then later = call('ZCOUNT', self.key, '-inf', num(to)) - locate(self.key, t, arr) - 1 end
    found = call('ZREVRANGEBYSCORE', self.key, num(to), '(' .. num(from), 'WITHSCORES', 'LIMIT', later, page.limit)
  end
  local at, n = #marks + 1, #members
  marks[at] = #found / 2
  for i = 1, #found, 2 do
    marks[at + i], marks[at + i + 1] = found[i + 1], #found[i]
    n = n + 1
    members[n] = found[i]
  end
  return found
end

-- How many of a page's events come after `from`, the newest first.
local function events_after(found, from)
  local low, high = 0, #found / 2
  while low < high do
    local middle = floor((low + high) / 2)
    if tonumber(found[2 * middle + 2]) > from then low = middle + 1 else high = middle end
  end
  return low
end

function Log:read_distinct(read, t, arr, newest, previous_seen)
  local to = t - read[3]
  local from = read[2] < 0 and -1 or to - read[2]
  if read[3] > 0 or not newest then return distinct_scan(self.key, from, to, t, arr, read[4] == 1) end
  local n
  if from < self.meta[T_FIRST] then n = self.meta[VALUES]
  else n = call('ZCOUNT', self.key .. ':d', '(' .. num(from), num(to)) end
  if read[4] == 1 and previous_seen and previous_seen <= from then n = n - 1 end
  return n
end

function Log:read(t, arr, newest, previous_seen, out, marks, members)
  local meta = self.meta
  local found = {}
  for _, page in ipairs(self.pages) do found[page] = self:read_page(page, t, arr, newest, marks, members) end
  local at = #out
  for i, read in ipairs(self.reads) do
    local kind, width, delay = read[1], read[2], read[3]
    local value
    if kind == LOG then
      local from = width < 0 and -1 or t - delay - width
      value = min(events_after(found[read.page], from), read[5])
      -- Not of the newest N: they are trimmed by number, and kept from the beginning they would never be.
      if self.cap == 0 and value == read[5] then keep_for_pages(self, from) end
    elseif kind == SUMS then
      local upper
      if delay > 0 then upper = self:count_up_to(t - delay)
      elseif newest then upper = meta[HELD]
      else upper = locate(self.key, t, arr) + 1 end
      value = upper - (width < 0 and 0 or self:count_up_to(t - delay - width))
    else
      value = self:read_distinct(read, t, arr, newest, previous_seen)
      if value < 0 then keep_for_pages(self, width < 0 and -1 or t - delay - width) end
    end
    out[at + i] = value
  end
end

-- Count (t, arr) in a young counter; false when it has to grow first.
local function young_write(c, t, arr, what)
  if not young_insert(c, t, arr, what, c.retention > 0 and t - c.retention) then
    grow(c)
    return false
  end
  save(c)
  return true
end

local function take_out(c, t, arr)
  if c.meta[AGE] == YOUNG then return young_remove(c, t, arr) end
  return c:remove(t, arr)
end

-- Count the event and read; `follow`: it was counted before.
local function apply(c, t, arr, follow, out, marks, members)
  local what = c.what
  if not c.meta then
    -- Absent though everything is loaded: no event of this group within the retention. Nothing to create unless
    -- there is something to count.
    if what == false then
      out[#out + 1] = -2
      return
    end
    create(c, c.from)
  end
  local is_tree = c.kind == 'tree'
  local writes = what ~= false
  if c.meta[AGE] == YOUNG then
    if writes and young_write(c, t, arr, what) then writes = false end
    if c.meta[AGE] == YOUNG then
      if is_tree then
        out[#out + 1] = c.meta[FLOOR]
        c:read_young(t, arr, out)
        return
      elseif not c:fills_page(t) then
        out[#out + 1] = c.meta[FLOOR]
        c:read_young(t, arr, out, marks, members)
        return
      end
      grow(c)
      save(c)
    end
  end
  local meta = c.meta
  if is_tree then
    local before = writes and c.asks_before and c:before(t, arr)
    if writes then c:write(t, arr, what) end
    out[#out + 1] = meta[FLOOR]
    local newest = t > meta[T_LAST] or (t == meta[T_LAST] and arr >= meta[A_LAST])
    c:read(t, arr, newest, before, out)
    return
  end
  if meta[SOUGHT] > 0 then
    c:seek_more()
    put_meta(c)
  end
  local previous_seen
  if c.asks_before and writes and what ~= true then
    local score = call('ZSCORE', c.key .. ':d', what)
    previous_seen = score and tonumber(score) or -1
  end
  if writes then c:write(t, arr, what) end
  out[#out + 1] = meta[FLOOR]
  local newest = not follow and (t > meta[T_LAST] or (t == meta[T_LAST] and arr >= meta[A_LAST]))
  c:read(t, arr, newest, previous_seen, out, marks, members)
end

--------------------------------------------------------------------------------------------------- commands

local commands = {}
local LOST, SHAPES = { 'lost' }, { 'shapes' }

-- Which events were counted, and when: one hash a day of arrival, today's and yesterday's are looked at. A hash costs
-- a third less than a sorted set, and a whole day expires at once. The arrival is kept as time of that day: with five
-- bytes it fits the allocator's smallest class, with seven it would take twice that.
local DAY_US = 86400000000

local function index_key(base, tag, day)
  return base .. 'ix:' .. tag .. ':' .. num(day)
end

local function index_get(base, tag, id, day)
  local found = call('HGET', index_key(base, tag, day), id)
  return found and day * DAY_US + sunpack('>I5', found)
end

local function index_find(base, tag, id, now)
  local today = floor(now / DAY_US)
  return index_get(base, tag, id, today) or index_get(base, tag, id, today - 1)
end

local function index_put(base, tag, id, arr, ttl)
  local day = floor(arr / DAY_US)
  local key = index_key(base, tag, day)
  call('HSET', key, id, spack('>I5', arr - day * DAY_US))
  call('PEXPIRE', key, ttl)
end

local function index_drop(base, tag, id, arr)
  local day = floor(arr / DAY_US)
  if index_get(base, tag, id, day) == arr then call('HDEL', index_key(base, tag, day), id) end
end

local function is_lost(ns, epoch)
  return call('GET', ns .. 'epoch') ~= epoch
end

-- Whether no newer ruleset than `number` was seen here (`known`: the newest as stored); remembers it.
local function ruleset_known(ns, number, known)
  local newest = tonumber(known or '0')
  if number > newest then call('SET', ns .. 'ruleset', num(number)) end
  return number >= newest
end

-- The ids of ready counters. They are read again when `at`, which whoever adds one changes after that, is another.
local ready = {}
local function ready_counters(ns, epoch, at)
  local known = ready[ns]
  if not (known and known.epoch == epoch and known.at == at) then
    known = { epoch = epoch, at = at, ids = {} }
    if at then
      for _, id in ipairs(call('SMEMBERS', ns .. 'ready:' .. epoch)) do known.ids[id] = true end
    end
    ready[ns] = known
  end
  return known.ids
end

-- From when on a ready counter that is absent is known to be empty.
local function floor_of_absent(c, now)
  return c.floor_back < 0 and -1 or now - c.floor_back
end

-- Whether the counter cannot answer for an event at t: not complete far enough back, or gone for no known reason.
local function is_unknown(c, t, now, lateness, ready_ids)
  local meta = c.meta
  if not meta then
    if t < now - lateness or not ready_ids[c.id] then return true end
    c.from = floor_of_absent(c, now)
    return false
  end
  local from = meta[FLOOR]
  if from < 0 then return false end
  return from == LOADING or (c.lookback >= 0 and t - c.lookback < from) or c.lookback == -1
end

-- request = {ns, base, epoch, t or false, follow, lateness, index ttl, tags, counters (see `open`), name of the exchange
--   or false, arrival or false, bucket or false, number of the ruleset}
-- On a cluster (cluster.py) an event's counters are in several buckets, each with names of its own: the user's assigns
-- the arrival, one that no other bucket assigns (bucket = {how many there are, which this is}); the others are given
-- it, with the event's time. What is this late with it may have been taken back meanwhile, and is not counted.
-- args[3] = id of the event, args[4] = what reconciliation needs to take the count back, args[5] = its user's group.
-- Answers {status, blob, log members}; statuses: ok; lost (another epoch); stale (a newer ruleset is in force, nothing
-- done: counted for the counters of the old one alone, the event would be missing from the new one's to whoever counts
-- before it is decided anew); seen (counted before, nothing done); shapes (some are not known, nothing done); fill (these
-- counters are unknown or not complete far enough back, or, with none named, an event of the same user waits for its own;
-- nothing done).
function commands.count(request, args)
  local ns, base, epoch = request[1], request[2], request[3]
  local known = call('MGET', ns .. 'epoch', ns .. 'ruleset', ns .. 'arrival', ns .. 'ready_at:' .. epoch)
  if known[1] ~= epoch then return LOST end
  local follow = request[5]
  local now = NOW_US
  local given, bucket = request[11], request[12]
  if not given and not ruleset_known(ns, request[13], known[2]) then return { 'stale' } end
  if given and now - given > GIVEN_WITHIN_US then return LOST end
  local seen = given or index_find(base, args[5], args[3], now)
  if seen and not follow and not given then return { 'seen', msgpack({ seen }) } end
  local arr
  if seen then arr = seen else
    arr = max(now, tonumber(known[3] or '0') + 1)
    if bucket then arr = arr + (bucket[2] - arr) % bucket[1] end
  end
  local t = request[4] or arr
  local counters, groups = open(base, request[8], request[9])
  if not counters then return SHAPES end
  local ready_ids = ready_counters(ns, epoch, known[4])
  local unknown = {}
  for i, c in ipairs(counters) do
    if is_unknown(c, t, now, request[6], ready_ids) then unknown[#unknown + 1] = i end
  end
  -- In one exchange the events of a user stay in their order: behind one that waits for its counters they all wait.
  local hold = request[10] and base .. 'hold:' .. args[5]
  local held = hold and call('GET', hold) == request[10]
  if held or #unknown > 0 then
    if hold and not held then call('SET', hold, request[10], 'PX', HOLD_MS) end
    return { 'fill', msgpack(unknown) }
  end
  if not seen then
    call('SET', ns .. 'arrival', num(arr))
    index_put(base, args[5], args[3], arr, request[7])
    call('ZADD', ns .. 'recent', num(arr), args[4])
  end
  local was_counted = given and follow or not given and seen ~= false
  local out, marks, members = {}, {}, {}
  for _, c in ipairs(counters) do apply(c, t, arr, was_counted, out, marks, members) end
  store(groups)
  return { 'ok', msgpack({ arr, t, out, marks }), table.concat(members) }
end

-- request = {ns, base, epoch, tags, counters, t, arr}: take an event out of every counter and the index.
function commands.uncount(request, args)
  local ns, base = request[1], request[2]
  if is_lost(ns, request[3]) then return LOST end
  local t, arr = request[6], request[7]
  local counters, groups = open(base, request[4], request[5])
  if not counters then return SHAPES end
  for _, c in ipairs(counters) do
    if c.meta and take_out(c, t, arr) then put_meta(c) end
  end
  store(groups)
  if args[3] ~= '' then
    index_drop(base, args[4], args[3], arr)
  end
  return { 'ok' }
end

-- request = {ns, base, epoch, tag, shape, floor, is_last, events}
-- Adds those of the events (time, arrival, what, one after another, in order) that the counter lacks; with is_last the
-- counter is complete from `floor` on.
function commands.fill(request)
  local ns, base = request[1], request[2]
  if is_lost(ns, request[3]) then return LOST end
  local counters, groups = open(base, { request[4] }, { request[5], 1, false })
  if not counters then return SHAPES end
  local c, events, at = counters[1], request[8], 1
  for i = 4, #events, 3 do
    local t, before = events[i], events[i - 3]
    if t < before or (t == before and events[i + 1] <= events[i - 2]) then error('events to fill with are not in order') end
  end
  if not c.meta then
    create(c, LOADING)
    -- So many at once that it would not stay young.
    if #events > 3 * YOUNG_MOST then grow(c) end
  end
  while c.meta[AGE] == YOUNG and events[at] do
    if young_insert(c, events[at], events[at + 1], events[at + 2], false) then at = at + 3 else grow(c) end
  end
  if events[at] then c:insert_all(events, at) end
  local meta = c.meta
  if request[7] then meta[FLOOR] = min(meta[FLOOR], request[6]) end
  if meta[AGE] == GROWN then meta[UNTOLD] = 1 end
  save(c)
  -- Filled with nothing: the first event's keys have to be told when to end.
  if meta[AGE] == GROWN and call('EXISTS', c.key) == 0 then meta[UNTOLD] = 1 end
  store(groups)
  return { 'ok' }
end

-- request = {ns, base, epoch, tags, counters as in count}: from which event time on each is complete, false for one that is
-- unknown or being filled.
function commands.floors(request)
  if is_lost(request[1], request[3]) then return LOST end
  local counters = open(request[2], request[4], request[5])
  if not counters then return SHAPES end
  local floors = {}
  for i, c in ipairs(counters) do floors[i] = c.meta and c.meta[FLOOR] ~= LOADING and c.meta[FLOOR] or false end
  return { 'ok', msgpack(floors) }
end

-- request = {ns, base, epoch, tags, counters as in count, t, arr}: a corrected event.
function commands.correct(request)
  local ns, base = request[1], request[2]
  if is_lost(ns, request[3]) then return LOST end
  local t, arr = request[6], request[7]
  local counters, groups = open(base, request[4], request[5])
  if not counters then return SHAPES end
  local ready_ids = ready_counters(ns, request[3], call('GET', ns .. 'ready_at:' .. request[3]))
  for _, c in ipairs(counters) do
    if not c.meta and c.what ~= false and ready_ids[c.id] then
      -- The next event of the group would begin it as if it had been empty so far.
      local from = floor_of_absent(c, NOW_US)
      if from < t then create(c, from) end
    end
    local from = c.meta and c.meta[FLOOR]
    if from and from ~= LOADING then
      -- Of the newest N a late one may be kept that is older than what was trimmed: from here on the database tells of it.
      if take_out(c, t, arr) then put_meta(c) end
      if c.what ~= false and from < t and not (c.meta[AGE] == YOUNG and young_write(c, t, arr, c.what)) then
        c:write(t, arr, c.what)
      end
    end
  end
  store(groups)
  return { 'ok' }
end

-- request = {ns, number}: this ruleset is in force.
function commands.ruleset(request)
  ruleset_known(request[1], request[2], call('GET', request[1] .. 'ruleset'))
  return { 'ok' }
end

-- request = {ns, base, epoch, tag, shape}: {floor, totals, a young counter's events: time, arrival; false for those that
-- are grown}. Totals are of a tree's events beyond the floor; of a log they are how many events it says it holds and how
-- many it does, and the same of its different values.
function commands.totals(request)
  local ns, base = request[1], request[2]
  if is_lost(ns, request[3]) then return LOST end
  local counters = open(base, { request[4] }, { request[5], 1, false })
  if not counters then return SHAPES end
  local c = counters[1]
  local meta = c.meta
  if not meta then return { 'ok', msgpack({ -1, {}, {} }) } end
  local is_young = meta[AGE] == YOUNG
  local events = is_young and {}
  if is_young then
    for at = YOUNG_EVENTS, #meta, c.stride do events[#events + 1], events[#events + 2] = meta[at], meta[at + 1] end
  end
  if c.kind ~= 'tree' then
    local counts = {}
    if not is_young then
      local values = c.kind == 'distinct' and call('ZCARD', c.key .. ':d') or meta[VALUES]
      counts = { meta[HELD], call('ZCARD', c.key), meta[VALUES], values }
    end
    return { 'ok', msgpack({ meta[FLOOR], counts, events }) }
  end
  local all, before, totals
  if is_young then
    all, before = c:young_total(#events / 2), c:young_total(young_up_to(meta, c.stride, meta[FLOOR]))
  else
    all, before = c:total_all(), c:total_at_time(meta[FLOOR])
  end
  totals = {}
  for i = 1, #all do totals[i] = all[i] - before[i] end
  return { 'ok', msgpack({ meta[FLOOR], totals, events }) }
end

-- request = shapes by number, {number, shape}: what they are.
function commands.shapes(request)
  for _, each in ipairs(request) do
    if not shape_known(each[1]) then remember(each[1], shape_of(each[2])) end
  end
  return { 'ok' }
end

redis.register_function(NAME, function(_, args)
  call, msgpack, msgunpack = redis.call, cmsgpack.pack, cmsgpack.unpack
  spack, sunpack, format = struct.pack, struct.unpack, string.format
  floor, min, max = math.floor, math.min, math.max
  local time = call('TIME')
  NOW_US = time[1] * 1000000 + time[2]
  NOW_MS = floor(NOW_US / 1000)
  return commands[args[1]](msgunpack(args[2]), args)
end)
