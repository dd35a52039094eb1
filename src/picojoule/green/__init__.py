"""What a result costs: energy, CO2e, money and FLOPs of a whole study.

Nothing of this is loaded by ``import picojoule``.
"""
