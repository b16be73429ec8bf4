-- What a run holds, in blocks. A block is one row: `lines` is what Postgres writes for a record, times
-- and payloads stand apart as one string of bytes each. Blocks go by key, never by offset.

-- name: enter
-- As every transaction begins; and values are written in one way, whatever the session is used to.
select
  set_config('workbench.workspace', %(workspace_id)s, true),
  set_config('extra_float_digits', '1', true)

-- name: length
-- How far a run goes; told apart from a run that is not there.
select next_seq - 1 as length from runs
where workspace_id = %(workspace_id)s and run_id = %(run_id)s

-- name: events
-- Everything of some events, as many as their payloads allow, and one at least.
with page as (
  select seq, octet_length(payload) as size from events
  where
    workspace_id = %(workspace_id)s and run_id = %(run_id)s
    and seq > %(after)s and seq < %(before)s
    and (not %(failed)s or status in ('error', 'cancelled'))
  order by seq
  limit %(rows)s
)
select
  convert_to(string_agg(row(
    null::integer, e.attempt_of, e.cache_read, e.cache_write, e.content_hash, e.cost_usd,
    encode(e.digest, 'hex'), e.duration_ms, e.effect, e.event_type, e.input_tokens,
    e.input_uncached, e.kind, e.lane, e.match_level, e.mode, e.name, e."order", e.ordinal,
    e.output_tokens, e.parent_step_id, e.quality, e.reasoning_tokens, e.seq,
    encode(e.signature, 'hex'), e.status, e.step_id, e.version, e.writer, e.writer_seq,
    octet_length(e.payload), null::integer
  )::text, E'\n'), 'UTF8') as lines,
  string_agg(timestamptz_send(coalesce(e.started_at, 'infinity')), ''::bytea) as started_at,
  string_agg(timestamptz_send(e.received_at), ''::bytea) as received_at,
  string_agg(e.payload, ''::bytea) as packed,
  max(e.seq) as last
from (
  select * from events
  where
    workspace_id = %(workspace_id)s and run_id = %(run_id)s and seq > %(after)s
    -- Sums up to each row are dear, and seldom needed.
    and seq <= case
      when (select sum(size) from page) <= %(bytes)s then (select max(seq) from page)
      else (
        select max(p.seq) from (
          select seq, sum(size) over (order by seq rows unbounded preceding) - size as earlier
          from page
        ) p
        where p.earlier < %(bytes)s
      )
    end
    and (not %(failed)s or status in ('error', 'cancelled'))
  order by seq
) e

-- name: timeline
-- The narrow columns that steps and a timeline are made of.
select
  convert_to(string_agg(row(
    null::integer, e.seq, e.event_type, e.step_id, e.parent_step_id, e.attempt_of, e.kind,
    e.name, e.lane, e.ordinal, e.status, e.duration_ms, e.input_tokens, e.output_tokens,
    e.cost_usd, e.effect, e.quality, e."order", e.mode, e.match_level, null::integer
  )::text, E'\n'), 'UTF8') as lines,
  string_agg(timestamptz_send(coalesce(e.started_at, 'infinity')), ''::bytea) as started_at,
  max(e.seq) as last
from (
  select * from events
  where
    workspace_id = %(workspace_id)s and run_id = %(run_id)s
    and seq > %(after)s and seq < %(before)s
    and (not %(failed)s or status in ('error', 'cancelled'))
  order by seq
  limit %(rows)s
) e

-- name: bodies
-- The messages a run refers to, as many as their size allows, and one at least. Those that it sent
-- first are its own, the others are linked.
with page as (
  select m.digest from messages m
  where
    m.workspace_id = %(workspace_id)s and m.run_id = %(run_id)s and m.digest > %(after)s
  union all
  select l.digest from shared_messages s cross join unnest(s.digests) as l (digest)
  where
    s.workspace_id = %(workspace_id)s and s.run_id = %(run_id)s and l.digest > %(after)s
  order by digest
  limit %(rows)s
)
select
  convert_to(string_agg(row(
    null::integer, e.digest, octet_length(e.body), null::integer
  )::text, E'\n'), 'UTF8') as lines,
  string_agg(e.body, ''::bytea) as packed,
  max(e.digest collate "C") as last
from (
  select
    encode(m.digest, 'hex') as digest, m.body,
    sum(octet_length(m.body)) over (order by p.digest rows unbounded preceding)
      - octet_length(m.body) as earlier
  from page p
  join messages m on m.workspace_id = %(workspace_id)s and m.digest = p.digest
  order by p.digest
) e
where e.earlier < %(bytes)s

-- name: artifact
-- Its metadata; the bytes are in the object store.
select encode(sha256, 'hex') as sha256, size, media_type from artifacts
where workspace_id = %(workspace_id)s and sha256 = %(sha256)s

-- name: put_artifact
-- After its bytes are in the object store.
insert into artifacts (workspace_id, sha256, size, media_type)
values (%(workspace_id)s, %(sha256)s, %(size)s, %(media_type)s)
on conflict on constraint artifacts_key do nothing

-- name: snapshots
-- Where the lake's tables stand.
select table_name, metadata_location, snapshot_id, generation from snapshots
where workspace_id = %(workspace_id)s

-- name: snapshots_pending
-- Ended runs that the lake does not hold as they are now.
select count(*) as pending from runs where workspace_id = %(workspace_id)s and snapshot_due

-- name: request_snapshot
-- A trigger writes the queue's job in the same transaction.
insert into jobs.jobs (workspace_id, job_key, kind)
values (%(workspace_id)s, %(job_key)s, 'snapshot')
on conflict on constraint jobs_key_unique do update set kind = excluded.kind
returning job_id
