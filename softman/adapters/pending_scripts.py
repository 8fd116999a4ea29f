"""The Lua scripts behind ``pending``: each runs in Redis as one step that nothing can come between.

Keys of every script, all of one repository:

======= ========== =================================================================================================
KEYS[1] lease      token of the present holder, with a time to live
KEYS[2] pending    set of changed object keys that wait
KEYS[3] flight     set of object keys that the holder has taken
KEYS[4] queued     there is a publish task in the queue (who said so), with a time to live
KEYS[5] epoch      the repository was synced in full since the last flush; without it the scope is everything
KEYS[6] mark       provisional epoch: token of the holder whose full sync is under way
KEYS[7] stranger   there is no such repository, so its keys are not taken in; with a time to live
KEYS[8] reached    how far the full sync under way came: fingerprint of the rules, newline, object key
======= ========== =================================================================================================

Sets are moved in portions because a Lua call takes a few thousand arguments only. ``BUSY`` (-1) answers a holder whose
lease is lost.
"""

KEY_NAMES = ("lease", "pending", "flight", "queued", "epoch", "mark", "stranger", "reached")
BUSY = -1
EVERYTHING = 1

_FENCE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
"""

_CLAIM = """
local function claim(who, ttl)
  if redis.call('SET', KEYS[4], who, 'NX', 'PX', ttl) then return 1 end
  if redis.call('GET', KEYS[4]) == who then return 1 end
  return 0
end
"""
"""Saying that a task gets queued. ``who`` is new in each call, so that a repeated request gets the same answer."""

_RETURN_FLIGHT = """
if redis.call('EXISTS', KEYS[3]) == 1 then
  redis.call('SUNIONSTORE', KEYS[2], KEYS[2], KEYS[3])
  redis.call('DEL', KEYS[3])
end
redis.call('DEL', KEYS[6])
"""

ADD = (
    _CLAIM
    + """
if redis.call('EXISTS', KEYS[7]) == 1 then return 0 end
for first = 3, #ARGV, 1000 do
  redis.call('SADD', KEYS[2], unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
return claim(ARGV[1], ARGV[2])
"""
)
"""who, ttl, key... -> 1 when the caller queues a task. A holder needs none: it looks again before it lets go."""

STARTED = "redis.call('DEL', KEYS[4]) return 0"

ACQUIRE = (
    """
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) and redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
"""
    + _RETURN_FLIGHT
    + "return 1"
)
"""token, ttl -> 1 when the lease is the caller's."""

RENEW = _FENCE + "return redis.call('PEXPIRE', KEYS[1], ARGV[2])"

TAKE = (
    _FENCE
    + """
if redis.call('EXISTS', KEYS[5]) == 0 then
  redis.call('SET', KEYS[6], ARGV[1])
  local reached = redis.call('GET', KEYS[8])
  if reached then return reached end
  if redis.call('EXISTS', KEYS[2]) == 1 then
    redis.call('SUNIONSTORE', KEYS[3], KEYS[3], KEYS[2])
    redis.call('DEL', KEYS[2])
  end
  return 1
end
local taken = redis.call('SPOP', KEYS[2], ARGV[2])
for first = 1, #taken, 1000 do
  redis.call('SADD', KEYS[3], unpack(taken, first, math.min(first + 999, #taken)))
end
return taken
"""
)
"""token, limit -> 1 for everything, how far that came when it goes on, or the keys taken.

What goes on compares no key before the one that it reached, so pending keys stay pending.
"""

REACHED = (
    _FENCE
    + """
if redis.call('GET', KEYS[6]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[8], ARGV[2])
return 1
"""
)
"""token, how far -> 1 unless somebody asked for everything anew."""

TAKE_KEYS = (
    _FENCE
    + """
local taken = redis.call('SPOP', KEYS[2], ARGV[2])
for first = 1, #taken, 1000 do
  redis.call('SADD', KEYS[3], unpack(taken, first, math.min(first + 999, #taken)))
end
return taken
"""
)
"""token, limit -> the keys taken, whether or not everything is asked for."""

DONE_KEYS = (
    _FENCE
    + """
for first = 2, #ARGV, 1000 do
  redis.call('SREM', KEYS[3], unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
return 0
"""
)

DONE_EVERYTHING = (
    _FENCE
    + """
redis.call('DEL', KEYS[3])
if redis.call('GET', KEYS[6]) == ARGV[1] then
  redis.call('SET', KEYS[5], ARGV[1])
  redis.call('DEL', KEYS[6], KEYS[8])
end
return 0
"""
)

NEED_EVERYTHING = """
if ARGV[1] == '1' or redis.call('EXISTS', KEYS[8]) == 0 then
  redis.call('DEL', KEYS[5], KEYS[6], KEYS[7], KEYS[8])
end
return 0
"""
"""1 for from the front, 0 when one that is under way will do."""

FORGET = """
if redis.call('EXISTS', KEYS[1], KEYS[5]) > 0 then return 0 end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[6], KEYS[8])
redis.call('SET', KEYS[7], '', 'PX', ARGV[1])
return 0
"""
"""ttl. Nothing happens when somebody publishes or has published it: whoever says that it is none looked too early."""

DROP = "redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[8]) return 0"

IS_WHOLE = "return redis.call('EXISTS', KEYS[5])"

GIVE_BACK = _FENCE + _RETURN_FLIGHT + "return 0"

RELEASE = (
    _CLAIM
    + _FENCE
    + _RETURN_FLIGHT
    + """
redis.call('DEL', KEYS[1])
if redis.call('EXISTS', KEYS[2]) == 0 and redis.call('EXISTS', KEYS[5]) == 1 then return 0 end
return claim(ARGV[2], ARGV[3])
"""
)
"""token, who, ttl -> 1 when the caller queues a task."""

WAITING = (
    _CLAIM
    + """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
if redis.call('EXISTS', KEYS[5]) == 1 and redis.call('EXISTS', KEYS[2], KEYS[3]) == 0 then return 0 end
return claim(ARGV[1], ARGV[2])
"""
)
"""who, ttl -> 1 when the caller queues a task: nobody holds the lease, and there is something to take."""

COUNT = "return redis.call('SCARD', KEYS[2]) + redis.call('SCARD', KEYS[3])"

BACKLOG = """
return {
  redis.call('SCARD', KEYS[2]), redis.call('SCARD', KEYS[3]),
  redis.call('EXISTS', KEYS[5]), redis.call('EXISTS', KEYS[1]),
  redis.call('SRANDMEMBER', KEYS[2], ARGV[1]), redis.call('SRANDMEMBER', KEYS[3], ARGV[1])
}
"""
"""limit -> keys pending and in flight, whether all is known, whether somebody holds the lease, and some of the keys."""
