-- The log of record. Every key begins with the workspace, so that rows can be partitioned by it.

create table runs (
  workspace_id uuid not null,
  run_id uuid not null,
  name text,
  agent text,
  source text,
  session text,
  labels jsonb not null default '{}',
  mode text,
  parent_run_id uuid,
  forked_at bigint,
  edits_hash text,
  supersedes uuid,
  superseded_by uuid,
  header_hash bytea not null,
  status text not null default 'running' constraint runs_status check (
    status in ('running', 'waiting', 'done', 'failed', 'cancelled', 'diverged', 'lost')
  ),
  health text not null default 'ok' constraint runs_health check (
    health in ('ok', 'gap', 'incomplete', 'privacy_risk')
  ),
  created_at timestamptz not null default now(),
  started_at timestamptz,
  ended_at timestamptz,
  duration_ms double precision,
  closed boolean not null default false,
  next_seq bigint not null default 1,
  events bigint not null default 0,
  steps bigint not null default 0,
  calls bigint not null default 0,
  model_calls bigint not null default 0,
  tool_calls bigint not null default 0,
  tool_errors bigint not null default 0,
  errors bigint not null default 0,
  input_tokens bigint not null default 0,
  output_tokens bigint not null default 0,
  cost_known_usd double precision not null default 0,
  unknown_cost_parts bigint not null default 0,
  changed_at timestamptz not null default now(),
  generation bigint not null default 0,
  snapshot_due boolean not null default false,
  constraint runs_key primary key (workspace_id, run_id),
  constraint runs_contiguous check (next_seq = events + 1)
);
-- The columns of these indexes do not change with each batch, so a batch's update stays in its page.
create unique index runs_source on runs (workspace_id, source)
where source is not null and superseded_by is null;
create index runs_recent on runs (workspace_id, created_at desc, run_id desc);
create index runs_supersedes on runs (workspace_id, supersedes) where supersedes is not null;
create index runs_snapshot_due on runs (workspace_id, ended_at) where snapshot_due;

create table writers (
  workspace_id uuid not null,
  run_id uuid not null,
  writer text not null,
  last_seq bigint not null,
  final_seq bigint,
  constraint writers_key primary key (workspace_id, run_id, writer),
  constraint writers_within check (final_seq is null or last_seq <= final_seq),
  constraint writers_run foreign key (workspace_id, run_id) references runs on delete cascade
);

create table events (
  workspace_id uuid not null,
  run_id uuid not null,
  seq bigint not null,
  writer_seq bigint not null,
  started_at timestamptz,
  received_at timestamptz not null,
  duration_ms double precision,
  input_tokens bigint,
  input_uncached bigint,
  cache_read bigint,
  cache_write bigint,
  output_tokens bigint,
  reasoning_tokens bigint,
  cost_usd double precision,
  content_hash bigint,
  ordinal bigint,
  version smallint not null,
  event_type text not null,
  writer text not null,
  step_id text,
  parent_step_id text,
  attempt_of text,
  kind text,
  name text,
  lane text,
  status text,
  effect text,
  quality text,
  "order" text,
  mode text,
  match_level text,
  digest bytea not null constraint events_digest check (octet_length(digest) = 32),
  signature bytea constraint events_signature check (octet_length(signature) = 32),
  payload bytea not null,
  constraint events_key primary key (workspace_id, run_id, seq),
  constraint events_writer_key unique (workspace_id, run_id, writer, writer_seq),
  constraint events_writer_seq check (writer_seq >= 1)
);
-- Payloads are zstd already; a second compression would only cost time.
alter table events alter column payload set storage external;

create table messages (
  workspace_id uuid not null,
  digest bytea not null constraint messages_digest check (octet_length(digest) = 32),
  body bytea not null,
  constraint messages_key primary key (workspace_id, digest)
);
alter table messages alter column body set storage external;

create table run_messages (
  workspace_id uuid not null,
  run_id uuid not null,
  digest bytea not null,
  constraint run_messages_key primary key (workspace_id, run_id, digest)
);

create table messages_text (
  workspace_id uuid not null,
  run_id uuid not null,
  seq bigint not null,
  tsv tsvector not null,
  constraint messages_text_key primary key (workspace_id, run_id, seq)
);
create index messages_text_words on messages_text using gin (tsv);

create table artifacts (
  workspace_id uuid not null,
  sha256 bytea not null constraint artifacts_sha256 check (octet_length(sha256) = 32),
  size bigint not null,
  media_type text not null,
  created_at timestamptz not null default now(),
  constraint artifacts_key primary key (workspace_id, sha256)
);

-- Where the lake's tables of a workspace stand now: readers scan by this, never by the catalog.
create table snapshots (
  workspace_id uuid not null,
  table_name text not null,
  metadata_location text not null,
  snapshot_id bigint not null,
  generation bigint not null,
  updated_at timestamptz not null default now(),
  constraint snapshots_key primary key (workspace_id, table_name)
);
