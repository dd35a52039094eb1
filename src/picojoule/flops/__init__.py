"""FLOPs and bytes: by formula, by compiler, by user, by hardware counter; never mixed.

>>> with pj.profile() as prof:                                      # doctest: +SKIP
...     with pj.count_flops():      # one step whose every operation is looked at
...         step()
...     for _ in range(1000):
...         step()
>>> prof.flops.model, prof.flops.coverage_time                       # doctest: +SKIP
"""
