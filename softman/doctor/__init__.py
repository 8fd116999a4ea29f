"""``softman doctor``: looks at everything that softman needs, and says how to repair what is wrong. Changes nothing."""
