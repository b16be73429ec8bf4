-- A temporary table must not stand in for one of ours inside a function that runs as the owner.

alter function workspace_of_key(bytea) set search_path = pg_catalog, public, pg_temp;
alter function create_workspace(text, bytea, text) set search_path = pg_catalog, public, pg_temp;
alter function workspaces_with_work() set search_path = pg_catalog, public, pg_temp;
alter function jobs.enqueue() set search_path = pg_catalog, jobs, pg_temp;
