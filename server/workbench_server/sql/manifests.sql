-- What a run consists of, read from narrow columns; no further than its row says, so that events that
-- come meanwhile are in the next manifest, whole.

-- name: head
-- The row and the writers in one statement: both as of one moment.
select
  r.run_id, r.status, r.health, r.events, r.edits_hash, encode(r.header_hash, 'hex') as header_hash,
  (
    select coalesce(
      jsonb_agg(
        jsonb_build_object('writer', w.writer, 'last', w.last_seq, 'final', w.final_seq)
        order by w.writer collate "C"
      ),
      '[]'
    )
    from writers w
    where w.workspace_id = r.workspace_id and w.run_id = r.run_id
  ) as writers
from runs r
where r.workspace_id = %(workspace_id)s and r.run_id = %(run_id)s

-- name: counts
select event_type, kind, count(*) as count
from events
where workspace_id = %(workspace_id)s and run_id = %(run_id)s and seq <= %(events)s
group by event_type, kind

-- name: digests
-- A writer's digests in order of its own numbers, as one string of bytes for each part of the log.
select writer, string_agg(digest, ''::bytea order by seq) as digests
from events
where workspace_id = %(workspace_id)s and run_id = %(run_id)s and seq > %(after)s and seq <= %(upto)s
group by writer
