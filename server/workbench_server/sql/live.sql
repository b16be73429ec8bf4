-- What followers ask: how far runs are, and a page of one.

-- name: state
-- Read before the page, so that what it counts is in the page or behind it.
select next_seq - 1 as last_seq, status, health, closed
from runs
where workspace_id = %(workspace_id)s and run_id = %(run_id)s

-- name: states
-- Each second, for the runs that somebody follows.
select run_id, next_seq - 1 as last_seq, status, health, closed
from runs
where workspace_id = %(workspace_id)s and run_id = any(%(run_ids)s)

-- name: page
-- Along the primary key, and no more bytes than fit; the first event is given whatever its size.
select
  seq, writer_seq, started_at, received_at, duration_ms, input_tokens, input_uncached, cache_read,
  cache_write, output_tokens, reasoning_tokens, cost_usd, content_hash, ordinal, version,
  event_type, writer, step_id, parent_step_id, attempt_of, kind, name, lane, status, effect,
  quality, "order", mode, match_level, encode(digest, 'hex') as digest,
  encode(signature, 'hex') as signature, payload
from (
  select *, sum(octet_length(payload)) over (order by seq) - octet_length(payload) as bytes_before
  from (
    select * from events
    where workspace_id = %(workspace_id)s and run_id = %(run_id)s and seq > %(after)s
    order by seq
    limit %(limit)s
  ) as page
) as measured
where bytes_before < %(bytes)s
order by seq
