"""Elements in files that number them."""

from ase.data import atomic_numbers


def check_species(species):
    """Symbols of elements as a tuple, one or more; ValueError if they are not."""
    species = (species,) if isinstance(species, str) else tuple(species)
    wrong = [symbol for symbol in species if atomic_numbers.get(symbol, 0) < 1]
    if wrong or not species or len(set(species)) < len(species):
        raise ValueError(f"species={species!r}: should be symbols of different elements, one for each type.")
    return species
