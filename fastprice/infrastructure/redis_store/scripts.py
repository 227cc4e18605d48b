"""Scripts for what must happen in Redis in one step or not at all: each is sent in full and names all its keys."""

# The reports are sent only if they are new: with many pairs they are most of the data, and streams write often. A SET
# comes first, because a full Redis refuses no SET after another kind of write.
# Only the leader may write: a leader that was paused and comes back late must not replace what its successor stored.
# A user without the right to publish to the channel still stores the round.
WRITE = """
local leader = redis.pcall('GET', KEYS[1])
if type(leader) == 'string' and leader ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[5])
if ARGV[3] ~= '' then
  redis.call('SET', KEYS[3], ARGV[3], 'PX', ARGV[5])
elseif redis.call('PEXPIRE', KEYS[3], ARGV[5]) == 0 then
  return 2
end
redis.call('SET', KEYS[4], ARGV[4], 'PX', ARGV[6])
redis.call('SET', KEYS[5], ARGV[8], 'PX', ARGV[5])
redis.pcall('PUBLISH', ARGV[7], '')
return 1
"""
# A key of the wrong type, a claim without an end, or one that ends later than any worker sets, is not ours: replaced.
CLAIM = """
local holder = redis.pcall('GET', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if type(holder) == 'string' and holder ~= ARGV[1] and left >= 0 and left <= tonumber(ARGV[3]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
RELEASE = "if redis.pcall('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1"
