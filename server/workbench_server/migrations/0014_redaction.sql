-- The rules by which a workspace's senders redact, and the key that makes their placeholders. They stand
-- outside row-level security, as limits do: only the workspace of the transaction is looked at.

alter table workspaces
  add column redaction_rules jsonb not null default '[]',
  -- 244 random bits: a uuid has 122.
  add column placeholder_key bytea not null default decode(
    replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'
  ),
  -- Of the key; 0 until there are rules.
  add column placeholder_key_version integer not null default 0,
  add constraint workspaces_redaction_rules check (jsonb_typeof(redaction_rules) = 'array'),
  add constraint workspaces_placeholder_key check (octet_length(placeholder_key) = 32);

drop function workspace_of_key(bytea);
-- As before, with the rules that each request is held against.
create function workspace_of_key(wanted bytea)
returns table (
  workspace_id uuid, name text, role text, key_id text, limits jsonb, lasts_s double precision,
  rules jsonb, key_version integer
)
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp
as $$
begin
  update public.api_keys u set last_used_at = now() where u.key_hash = (
    select k.key_hash from public.api_keys k
    where k.key_hash = wanted and public.is_live(k)
      and (k.last_used_at is null or k.last_used_at < now() - interval '1 minute')
    for no key update skip locked
  );
  return query
  select
    k.workspace_id, w.name, k.role, k.key_id, w.limits,
    extract(epoch from k.expires_at - now())::double precision,
    w.redaction_rules, w.placeholder_key_version
  from public.api_keys k join public.workspaces w on w.workspace_id = k.workspace_id
  where k.key_hash = wanted and public.is_live(k);
end
$$;

create function workspace_redaction(
  out rules jsonb, out key bytea, out key_version integer
)
language sql stable security definer set search_path = pg_catalog, public, pg_temp
as $$
  select w.redaction_rules, w.placeholder_key, w.placeholder_key_version
  from public.workspaces w
  where w.workspace_id = current_setting('workbench.workspace')::uuid
$$;

-- All rules at once: two admins who change them leave one's rules, never a mixture.
create function change_redaction(
  wanted jsonb, out rules jsonb, out key bytea, out key_version integer
)
language sql volatile security definer set search_path = pg_catalog, public, pg_temp
as $$
  update public.workspaces w
  set redaction_rules = wanted, placeholder_key_version = greatest(w.placeholder_key_version, 1)
  where w.workspace_id = current_setting('workbench.workspace')::uuid
  returning w.redaction_rules, w.placeholder_key, w.placeholder_key_version
$$;

do $$
declare
  f text;
begin
  foreach f in array array[
    'workspace_of_key(bytea)', 'workspace_redaction()', 'change_redaction(jsonb)'
  ] loop
    execute format('revoke all on function %s from public', f);
    execute format('grant execute on function %s to workbench_app', f);
  end loop;
  grant execute on function workspace_of_key(bytea) to workbench_worker;
end
$$;
