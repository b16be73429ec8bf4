-- What runs made: one row for each artifact_created event.

-- name: insert
-- In the transaction that stores the events.
insert into run_artifacts (
  workspace_id, run_id, seq, sha256, media_type, size, entity_type, tags
)
select
  %(workspace_id)s, %(run_id)s, a.seq, decode(a.sha256, 'hex'), a.media_type, a.size, a.entity_type,
  array(select json_array_elements_text(a.tags))
from json_to_recordset(%(artifacts)s::json) as a (
  seq bigint, sha256 text, media_type text, size bigint, entity_type text, tags json
)

-- name: rows
-- `stored` says whether the bytes came as well: an event may name what was never sent.
select
  run_id, seq, encode(sha256, 'hex') as sha256, media_type, size, entity_type, tags, created_at,
  exists (
    select from artifacts a
    where a.workspace_id = %(workspace_id)s and a.sha256 = run_artifacts.sha256
  ) as stored
from run_artifacts
where workspace_id = %(workspace_id)s

-- name: run_id
and run_id = %(run_id)s

-- name: sha256
and sha256 = %(sha256)s

-- name: entity_type
and entity_type = %(entity_type)s

-- name: media_type
and media_type = %(media_type)s

-- name: tag
-- Several tags have to be there all.
and tags @> %(tag)s::text[]

-- name: after
and (created_at, run_id, seq) < (%(after)s, %(after_run)s, %(after_seq)s)

-- name: order
order by created_at desc, run_id desc, seq desc limit %(limit)s

-- name: by_seq
and seq <= %(events)s order by seq limit %(limit)s

-- name: entity_types
-- How many of each type a run made.
select entity_type, count(*) as count, sum(size)::text as bytes
from run_artifacts
where workspace_id = %(workspace_id)s and run_id = %(run_id)s and seq <= %(events)s
group by entity_type
order by entity_type nulls last
