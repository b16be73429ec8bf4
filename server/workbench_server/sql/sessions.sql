-- Sessions: runs that share a name of one, and what they come to. A run that another supersedes is
-- left out: it would be counted twice.

-- name: pick
-- Which sessions a page shows: only what they are sorted by is summed for all of them. As numeric, a
-- sum is the same in whatever order its rows come, and a page begins where the last one ended.
select session, {key} as key from (
  select
    session,
    count(*) as runs,
    sum(errors) as errors,
    sum(input_tokens::numeric + output_tokens) as tokens,
    case
      when sum(unknown_cost_parts) = 0 then sum(cost_known_usd::numeric)::double precision
    end as cost,
    sum(duration_ms::numeric)::double precision as duration_ms,
    min(coalesce(started_at, created_at)) as first_at,
    max(coalesce(ended_at, heard_at)) as last_at
  from runs
  where workspace_id = %(workspace_id)s and session is not null and superseded_by is null
  group by session
) s
where true

-- name: rows
-- All that is said of some sessions.
select
  session,
  count(*) as runs,
  count(*) filter (where status = 'running') as running,
  count(*) filter (where status = 'waiting') as waiting,
  count(*) filter (where status = 'done') as done,
  count(*) filter (where status = 'failed') as failed,
  count(*) filter (where status = 'cancelled') as cancelled,
  count(*) filter (where status = 'diverged') as diverged,
  count(*) filter (where status = 'lost') as lost,
  case when count(messages) > 0 then least(sum(messages), 9223372036854775807)::bigint end
    as messages,
  count(messages) as messages_runs,
  least(sum(model_calls), 9223372036854775807)::bigint as model_calls,
  least(sum(tool_calls), 9223372036854775807)::bigint as tool_calls,
  least(sum(tool_errors), 9223372036854775807)::bigint as tool_errors,
  least(sum(errors), 9223372036854775807)::bigint as errors,
  least(sum(input_tokens), 9223372036854775807)::bigint as input_tokens,
  least(sum(output_tokens), 9223372036854775807)::bigint as output_tokens,
  sum(cost_known_usd) as cost_known_usd,
  case when sum(unknown_cost_parts) = 0 then sum(cost_known_usd) end as cost_usd,
  sum(unknown_cost_parts)::bigint as unknown_cost_parts,
  count(*) filter (where unknown_cost_parts > 0) as unknown_cost_runs,
  sum(duration_ms) as duration_ms,
  avg(duration_ms) as duration_mean_ms,
  percentile_cont(0.5) within group (order by duration_ms) as duration_p50_ms,
  percentile_cont(0.95) within group (order by duration_ms) as duration_p95_ms,
  count(duration_ms) as duration_runs,
  avg(confidence) as confidence_mean,
  count(confidence) as confidence_runs,
  min(coalesce(started_at, created_at)) as first_at,
  max(coalesce(ended_at, heard_at)) as last_at
from (
  select
    r.*,
    case
      when jsonb_typeof(labels -> 'confidence') = 'number'
      then (labels ->> 'confidence')::double precision
    end as confidence
  from runs r
  where workspace_id = %(workspace_id)s and session = any(%(sessions)s)
    and superseded_by is null
) r
group by session

-- name: session
and session = %(session)s

-- name: names
-- Candidates to name in a not-found error.
select session from runs
where workspace_id = %(workspace_id)s and session is not null
group by session
order by max(created_at) desc
limit 1000

-- name: key_session
session collate "C"

-- name: key_runs
runs

-- name: key_cost
cost

-- name: key_tokens
tokens

-- name: key_errors
errors

-- name: key_duration_ms
duration_ms

-- name: key_first_at
first_at

-- name: key_last_at
last_at
