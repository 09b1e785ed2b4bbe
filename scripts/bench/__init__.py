"""A pool of real nodes in processes of their own, work for it, and ways to hand that work out: see `scripts/bench_pool.py`."""
