-- Keys with a name, an end and a history, and the limits of a workspace. Both stand outside
-- row-level security, so the server reaches them only through the functions below, and each of them
-- looks at nothing but the workspace of the transaction.

alter table workspaces
  add column limits jsonb not null default '{}',
  add constraint workspaces_limits check (jsonb_typeof(limits) = 'object'),
  -- Names that were made before this rule stay.
  add constraint workspaces_name check (
    length(name) between 1 and 100 and name = btrim(name) and name !~ '[[:cntrl:]]'
  ) not valid;

-- A key's id is public: it names the key in lists and logs, and opens nothing.
alter table api_keys
  add column key_id text not null default left(replace(gen_random_uuid()::text, '-', ''), 12)
    constraint api_keys_id_unique unique,
  add column prefix text,
  add column name text,
  add column last_used_at timestamptz,
  add column revoked_at timestamptz,
  add column replaced_by text;
create index api_keys_workspace on api_keys (workspace_id, created_at);

-- What may be shown of a key: everything but its hash.
create type public_key as (
  key_id text, prefix text, name text, role text, status text, created_at timestamptz,
  expires_at timestamptz, last_used_at timestamptz, revoked_at timestamptz, replaced_by text
);

create function is_live(k api_keys) returns boolean
language sql stable
as $$ select k.revoked_at is null and (k.expires_at is null or k.expires_at > now()) $$;

create function shown(k api_keys) returns public_key
language sql stable
as $$
  select (
    k.key_id, k.prefix, k.name, k.role,
    case
      when k.revoked_at is not null then 'revoked'
      when k.expires_at <= now() then 'expired'
      when k.replaced_by is not null then 'replaced'
      else 'live'
    end,
    k.created_at, k.expires_at, k.last_used_at, k.revoked_at, k.replaced_by
  )::public.public_key
$$;

drop function workspace_of_key(bytea);
-- Writes down the use of a key, but not more often than once a minute, and without waiting for
-- whoever holds its row.
create function workspace_of_key(wanted bytea)
returns table (
  workspace_id uuid, name text, role text, key_id text, limits jsonb, lasts_s double precision
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
    extract(epoch from k.expires_at - now())::double precision
  from public.api_keys k join public.workspaces w on w.workspace_id = k.workspace_id
  where k.key_hash = wanted and public.is_live(k);
end
$$;

drop function create_workspace(text, bytea, text);
-- As before; a key whose id is given is shown under it. A key that has ended stays ended.
create function create_workspace(
  wanted text, hash bytea, key_role text, id text default null, label text default null
)
returns uuid
language plpgsql security definer set search_path = pg_catalog, public, pg_temp
as $$
declare
  made uuid;
  k public.api_keys;
begin
  insert into public.workspaces (name) values (wanted) on conflict (name) do nothing;
  select w.workspace_id into made from public.workspaces w where w.name = wanted;
  insert into public.api_keys (key_hash, workspace_id, role, key_id, prefix, name)
  values (
    hash, made, key_role, coalesce(id, left(replace(gen_random_uuid()::text, '-', ''), 12)),
    'wbk_' || id, label
  )
  on conflict (key_hash) do update set role = excluded.role
  where api_keys.workspace_id = excluded.workspace_id
  returning * into k;
  if not found then
    raise exception 'the key belongs to another workspace' using errcode = 'unique_violation';
  end if;
  if not public.is_live(k) then
    raise exception 'the key was revoked or has expired'
      using errcode = 'check_violation', constraint = 'api_keys_ended';
  end if;
  return made;
end
$$;

create function list_keys() returns setof public_key
language sql stable security definer set search_path = pg_catalog, public, pg_temp
as $$
  select (public.shown(k)).* from public.api_keys k
  where k.workspace_id = current_setting('workbench.workspace')::uuid
  order by k.created_at, k.key_id
$$;

create function create_key(
  id text, visible text, hash bytea, key_role text, label text, until timestamptz
)
returns setof public_key
language sql volatile security definer set search_path = pg_catalog, public, pg_temp
as $$
  insert into public.api_keys as k (
    key_id, prefix, key_hash, workspace_id, role, name, expires_at
  ) values (
    id, visible, hash, current_setting('workbench.workspace')::uuid, key_role, label, until
  )
  returning (public.shown(k)).*
$$;

-- The new key lives as long as the old one was made for; the old one ends after the overlap.
create function rotate_key(old text, id text, visible text, hash bytea, overlap interval)
returns setof public_key
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp
as $$
declare
  here uuid := current_setting('workbench.workspace')::uuid;
  k public.api_keys;
begin
  perform from public.workspaces w where w.workspace_id = here for no key update;
  select * into k from public.api_keys a where a.workspace_id = here and a.key_id = old;
  if not found then
    return;
  end if;
  if not public.is_live(k) or k.replaced_by is not null then
    raise exception 'the key has been rotated, has expired or was revoked'
      using errcode = 'check_violation', constraint = 'api_keys_rotate_live';
  end if;
  update public.api_keys a
  set replaced_by = id, expires_at = least(a.expires_at, now() + overlap)
  where a.workspace_id = here and a.key_id = old;
  return query
  select n.* from public.create_key(
    id, visible, hash, k.role, k.name, now() + (k.expires_at - k.created_at)
  ) n;
end
$$;

-- One at a time in a workspace: two admins who revoke each other's key must not both succeed.
create function revoke_key(old text) returns setof public_key
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp
as $$
declare
  here uuid := current_setting('workbench.workspace')::uuid;
  k public.api_keys;
begin
  perform from public.workspaces w where w.workspace_id = here for no key update;
  select * into k from public.api_keys a where a.workspace_id = here and a.key_id = old;
  if not found then
    return;
  end if;
  if k.role = 'admin' and public.is_live(k) and not exists (
    select from public.api_keys a
    where a.workspace_id = here and a.key_id <> old and a.role = 'admin' and public.is_live(a)
      and a.replaced_by is null
  ) then
    raise exception 'the last admin key cannot be revoked'
      using errcode = 'check_violation', constraint = 'api_keys_last_admin';
  end if;
  return query
  update public.api_keys a set revoked_at = coalesce(a.revoked_at, now())
  where a.workspace_id = here and a.key_id = old
  returning (public.shown(a)).*;
end
$$;

create function workspace_limits() returns jsonb
language sql stable security definer set search_path = pg_catalog, public, pg_temp
as $$
  select w.limits from public.workspaces w
  where w.workspace_id = current_setting('workbench.workspace')::uuid
$$;

-- A limit set to null is the default again.
create function change_limits(change jsonb) returns jsonb
language sql volatile security definer set search_path = pg_catalog, public, pg_temp
as $$
  update public.workspaces w set limits = jsonb_strip_nulls(w.limits || change)
  where w.workspace_id = current_setting('workbench.workspace')::uuid
  returning w.limits
$$;

do $$
declare
  f text;
begin
  foreach f in array array[
    'create_workspace(text, bytea, text, text, text)', 'workspace_of_key(bytea)', 'list_keys()',
    'create_key(text, text, bytea, text, text, timestamptz)',
    'rotate_key(text, text, text, bytea, interval)', 'revoke_key(text)', 'workspace_limits()',
    'change_limits(jsonb)', 'is_live(api_keys)', 'shown(api_keys)'
  ] loop
    execute format('revoke all on function %s from public', f);
    if f !~ '^(is_live|shown|create_workspace)' then
      execute format('grant execute on function %s to workbench_app', f);
    end if;
  end loop;
  grant execute on function workspace_of_key(bytea) to workbench_worker;
end
$$;
