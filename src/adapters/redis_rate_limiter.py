"""Places in queues, for all processes together."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from redis.asyncio import Redis
from redis.exceptions import RedisError

from adapters.memory.rate_limiter import MemoryRateLimiter
from application.ports.rate_limiter import KEPT, LONGEST_WAIT, MOST_EXACT, REMEMBERED, Line, Place

_PATIENCE = 1.0
_LEFT_ALONE = 5.0
_AT_ONCE = 16
_PREFIX = "carillon:limits"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)

_TAKE = """
local holder, start, latest, cap = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local kept_for, remembered, most_exact = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local second = 1000000

local function text(number) return string.format('%.0f', number) end

local lines, at = {}, 8
for n = 1, #KEYS, 2 do
  local line = {places = KEYS[n], more = KEYS[n + 1], waits = ARGV[at] == '1', windows = {}}
  line.kept, line.lasts = remembered, 0
  local named = {}
  at = at + 2
  for w = 1, tonumber(ARGV[at - 1]) do
    local window = {count = tonumber(ARGV[at]), span = tonumber(ARGV[at + 1]) * second}
    window.exact = window.count <= most_exact
    if window.exact then line.kept = math.max(line.kept, window.span) end
    line.lasts = math.max(line.lasts, window.exact and window.span or 2 * window.span)
    line.windows[w], named[w] = window, ARGV[at] .. '/' .. ARGV[at + 1]
    at = at + 2
  end
  line.named = table.concat(named, ' ')
  lines[#lines + 1] = line
end

local function counted(line, span, period)
  return tonumber(redis.call('HGET', line.more, text(span) .. ':' .. text(period)) or 0)
end

local function spread(line, window, turn)
  local period = math.floor(turn / window.span)
  local nth = counted(line, window.span, period) + 1
  if nth > window.count then return (period + 1) * window.span end
  local before = math.min(window.count, counted(line, window.span, period - 1))
  local follows = nth - window.count + before
  if follows < 1 then return turn end
  return math.max(turn, period * window.span + math.floor((follows - 1) * window.span / before))
end

local function place(line, n)
  return tonumber(redis.call('ZRANGE', line.places, n, n, 'WITHSCORES')[2])
end

local function after(line, window, turn)
  if not window.exact then return spread(line, window, turn) end
  local lowest = redis.call('ZCOUNT', line.places, '-inf', text(turn - window.span))
  local highest = redis.call('ZCOUNT', line.places, '-inf', '(' .. text(turn + window.span)) - window.count
  for n = highest, lowest, -1 do
    local first = place(line, n)
    if place(line, n + window.count - 1) - first < window.span then return first + window.span end
  end
  return turn
end

local function first(line, turn)
  local made_by, settled = 0, false
  while turn < cap and not settled do
    settled = true
    for w, window in ipairs(line.windows) do
      local later = after(line, window, turn)
      if later > turn then
        turn, made_by, settled = math.min(later, cap), w, false
        break
      end
    end
  end
  return turn, made_by
end

local function alone(line)
  local full = redis.call('HMGET', line.more, 'until', 'window', 'windows')
  local known = full[1] and tonumber(full[1]) > start and full[3] == line.named
  local turn, made_by = first(line, known and tonumber(full[1]) or start)
  if made_by == 0 and known then made_by = tonumber(full[2]) end
  if made_by > 0 then
    redis.call('HSET', line.more, 'until', text(turn), 'window', made_by, 'windows', line.named)
  elseif full[1] then
    redis.call('HDEL', line.more, 'until', 'window', 'windows')
  end
  return turn, made_by
end

local function give_back(line, turn)
  redis.call('ZREM', line.places, holder)
  for _, window in ipairs(line.windows) do
    local period = math.floor(turn / window.span)
    if not window.exact and counted(line, window.span, period) > 0 then
      redis.call('HINCRBY', line.more, text(window.span) .. ':' .. text(period), -1)
    end
  end
  local full = redis.call('HGET', line.more, 'until')
  if full and tonumber(full) > turn then redis.call('HSET', line.more, 'until', text(turn)) end
end

local function count(line, span, turn)
  if redis.call('HINCRBY', line.more, text(span) .. ':' .. text(math.floor(turn / span)), 1) > 1 then return end
  for _, field in ipairs(redis.call('HKEYS', line.more)) do
    local of, period = string.match(field, '^(%d+):(%d+)$')
    if of == text(span) and tonumber(period) < math.floor(start / span) - 1 then
      redis.call('HDEL', line.more, field)
    end
  end
end

for _, line in ipairs(lines) do
  local held = tonumber(redis.call('ZSCORE', line.places, holder) or nil)
  if held and start - kept_for <= held and held <= start then return {text(start), 0, 0} end
  if held then give_back(line, held) end
end

local turn, by, window = start, 0, 0
for n, line in ipairs(lines) do
  local free, made_by = alone(line)
  if free > turn then turn, by, window = free, n, made_by end
end
local settled = 0
while settled < #lines do
  settled = 0
  for n, line in ipairs(lines) do
    local later, made_by = first(line, turn)
    if later > turn then turn, by, window = later, n, made_by else settled = settled + 1 end
  end
end

if not ((latest and turn > latest) or (by > 0 and not lines[by].waits)) then
  for _, line in ipairs(lines) do
    redis.call('ZREMRANGEBYSCORE', line.places, '-inf', text(start - line.kept))
    redis.call('ZADD', line.places, text(turn), holder)
    for _, each in ipairs(line.windows) do
      if not each.exact then count(line, each.span, turn) end
    end
    local last = tonumber(redis.call('ZRANGE', line.places, -1, -1, 'WITHSCORES')[2])
    redis.call('PEXPIRE', line.places, text((last - start + line.kept) / 1000 + 60000))
    redis.call('PEXPIRE', line.more, text((last - start + math.max(line.kept, line.lasts)) / 1000 + 60000))
  end
end
return {text(turn), by, window}
"""


class RedisRateLimiter:
    """Implements the port RateLimiter in Redis: one call, in which nobody else takes anything.

    While that is away each process counts for itself, and does not ask again for some seconds: limits then hold for
    each process alone, and nobody waits for Redis. To wait for other calls of this process is not to wait for Redis.
    """

    def __init__(self, url: str, on_loss: Callable[[Exception], None] = lambda _: None) -> None:
        self._redis = Redis.from_url(url)
        self._script = self._redis.register_script(_TAKE)
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._own = MemoryRateLimiter()
        self._on_loss = on_loss
        self._away_until = 0.0

    async def take(self, holder: str, lines: Sequence[Line], now: datetime, latest: datetime | None = None) -> Place:
        async with self._turns:
            if asyncio.get_running_loop().time() >= self._away_until:
                try:
                    async with asyncio.timeout(_PATIENCE):
                        return await self._take(holder, lines, now, latest)
                except (RedisError, OSError) as error:  # a TimeoutError is one
                    self._away_until = asyncio.get_running_loop().time() + _LEFT_ALONE
                    self._on_loss(error)
        return await self._own.take(holder, lines, now, latest)

    async def _take(self, holder: str, lines: Sequence[Line], now: datetime, latest: datetime | None) -> Place:
        keys = [f"{_PREFIX}:{line.key}{what}" for line in lines for what in (":places", ":more")]
        start = _ticks(now)
        until = "" if latest is None else _ticks(latest)
        spans = [each // _TICK for each in (LONGEST_WAIT, KEPT, REMEMBERED)]
        said = [holder, start, until, start + spans[0], spans[1], spans[2], MOST_EXACT, *_written(lines)]
        turn, by, window = await self._script(keys=keys, args=said)
        if not by:
            return Place(now)
        line = lines[by - 1]
        return Place(_EPOCH + int(turn) * _TICK, line.name, line.windows[window - 1].name)

    async def close(self) -> None:
        await self._redis.aclose()


def _written(lines: Sequence[Line]) -> Iterator[int]:
    """Each line as the script reads it."""
    for line in lines:
        yield int(line.waits)
        yield len(line.windows)
        for window in line.windows:
            yield window.count
            yield window.seconds


def _ticks(at: datetime) -> int:
    return (at - _EPOCH) // _TICK
