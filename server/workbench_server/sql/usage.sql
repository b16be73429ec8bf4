-- What a workspace took, by day. A day is one of UTC; a row of run_usage belongs to one run alone.

-- name: days
-- An event counts on the day it was stored, an artifact on the day it first came.
with of_runs as (
  select
    u.day, count(*) as runs, sum(u.events) as events, sum(u.bytes) as bytes,
    sum(u.input_tokens) as input_tokens, sum(u.output_tokens) as output_tokens,
    sum(u.cost_usd) as cost_known_usd,
    count(*) filter (where r.unknown_cost_parts > 0) as unknown_cost_runs
  from run_usage u
  left join runs r on r.workspace_id = u.workspace_id and r.run_id = u.run_id
  where u.workspace_id = %(workspace_id)s and u.day between %(first)s and %(last)s
  group by u.day
), of_artifacts as (
  select (a.created_at at time zone 'UTC')::date as day, count(*) as artifacts,
    sum(a.size) as artifact_bytes
  from artifacts a
  where a.workspace_id = %(workspace_id)s
    and a.created_at >= %(first)s::date::timestamp at time zone 'UTC'
    and a.created_at < (%(last)s::date + 1)::timestamp at time zone 'UTC'
  group by 1
)
select
  day, coalesce(r.runs, 0) as runs, coalesce(r.events, 0)::bigint as events,
  coalesce(r.bytes, 0)::bigint as bytes, coalesce(r.input_tokens, 0)::bigint as input_tokens,
  coalesce(r.output_tokens, 0)::bigint as output_tokens,
  coalesce(r.cost_known_usd, 0) as cost_known_usd,
  coalesce(r.unknown_cost_runs, 0) as unknown_cost_runs,
  coalesce(a.artifacts, 0) as artifacts, coalesce(a.artifact_bytes, 0)::bigint as artifact_bytes
from of_runs r full join of_artifacts a using (day)
order by day

-- name: runs
-- A run that goes on past midnight stands in two days, but is one run.
select
  count(distinct u.run_id) as runs,
  count(distinct u.run_id) filter (where r.unknown_cost_parts > 0) as unknown_cost_runs
from run_usage u
left join runs r on r.workspace_id = u.workspace_id and r.run_id = u.run_id
where u.workspace_id = %(workspace_id)s and u.day between %(first)s and %(last)s
