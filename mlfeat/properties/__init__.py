"""Properties of crystals by any ASE calculator or fitted model: numbers, arrays, plots."""

__all__ = []
