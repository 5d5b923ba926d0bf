-- Advisory locks. `store/locks.py` defines their names and their order.

-- name: acquire
SELECT pg_advisory_xact_lock(hashtext(%(lock)s))

-- name: acquire_shared
SELECT pg_advisory_xact_lock_shared(hashtext(%(lock)s))

-- name: acquire_for_session
SELECT pg_advisory_lock(hashtext(%(lock)s))

-- name: acquire_shared_for_session
SELECT pg_advisory_lock_shared(hashtext(%(lock)s))

-- name: try_acquire_for_session
SELECT pg_try_advisory_lock(hashtext(%(lock)s))

-- name: release
SELECT pg_advisory_unlock(hashtext(%(lock)s))
