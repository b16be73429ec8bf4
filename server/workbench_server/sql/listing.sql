-- A listing of runs is put together of these pieces: the rows, what narrows them, and what they can
-- be sorted by (how, is in ordering.sql). `{term}` stands for a word's parameter. Tokens are added
-- as numeric: two counts may be more than a bigint holds.

-- name: rows
select
  run_id, name, agent, source, session, labels, mode, parent_run_id, forked_at, edits_hash,
  supersedes, superseded_by, status, health, created_at, started_at, ended_at, duration_ms, heard_at,
  events, steps, calls, model_calls, tool_calls, tool_errors, errors, messages, input_tokens,
  output_tokens, cost_known_usd, case when unknown_cost_parts = 0 then cost_known_usd end as cost_usd,
  unknown_cost_parts
from runs
where workspace_id = %(workspace_id)s

-- name: run_id
and run_id = %(run_id)s

-- name: source
-- A source names the run that supersedes others.
and source = %(source)s and superseded_by is null

-- name: status
and status = any(%(status)s)

-- name: health
and health = any(%(health)s)

-- name: mode
and mode = %(mode)s

-- name: name
and name = %(name)s

-- name: agent
and agent = %(agent)s

-- name: session
and session = %(session)s

-- name: parent_run_id
and parent_run_id = %(parent_run_id)s

-- name: label
and not exists (
  select from unnest(%(label_names)s::text[], %(label_values)s::text[]) as l (name, value)
  where (labels ->> l.name) is distinct from l.value
)

-- name: created_after
and created_at >= %(created_after)s

-- name: created_before
and created_at < %(created_before)s

-- name: ended_after
and ended_at >= %(ended_after)s

-- name: ended_before
and ended_at < %(ended_before)s

-- name: min_cost_usd
-- What is known is a lower bound, so the parts nobody knows cannot make it less.
and cost_known_usd >= %(min_cost_usd)s

-- name: max_cost_usd
and unknown_cost_parts = 0 and cost_known_usd <= %(max_cost_usd)s

-- name: min_tokens
and input_tokens::numeric + output_tokens >= %(min_tokens)s

-- name: max_tokens
and input_tokens::numeric + output_tokens <= %(max_tokens)s

-- name: min_duration_ms
and duration_ms >= %(min_duration_ms)s

-- name: max_duration_ms
and duration_ms <= %(max_duration_ms)s

-- name: says
run_id in (select s.run_id from runs_saying({term}) as s (run_id))

-- name: says_often
-- Words that are said everywhere are soon found in each run that is looked at; a subquery of one value
-- stays with the run it is asked of.
coalesce((
  select true from messages_text t
  where t.workspace_id = %(workspace_id)s and t.run_id = runs.run_id
    and t.tsv @@ phraseto_tsquery('simple', {term})
  limit 1
), false)

-- name: said_often
-- Which of a search's terms are those.
select p.phrase from unnest(%(terms)s::text[]) as p (phrase)
where said_often(p.phrase, %(most)s)

-- name: key_created_at
created_at

-- name: key_started_at
started_at

-- name: key_ended_at
ended_at

-- name: key_duration_ms
duration_ms

-- name: key_cost
case when unknown_cost_parts = 0 then cost_known_usd end

-- name: key_tokens
(input_tokens::numeric + output_tokens)

-- name: key_events
events

-- name: key_errors
errors

-- name: key_name
name collate "C"

-- name: key_run_id
run_id
