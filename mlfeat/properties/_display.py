"""What displays of properties share: a result, a reference beside it, and how they are made."""

__all__ = ["PropertyDisplay", "two_of"]


class PropertyDisplay:
    """Base of displays of what a function of properties returns.

    A subclass calculates with `_calculate` and draws `result` and `reference` in `plot`.

    Parameters
    ----------
    result : object
        What to draw.
    reference : object or None
        What to draw beside it.
    label : str, default="model"
        Name of the result in the legend.
    reference_label : str, default="reference"
        Name of the reference.
    """

    def __init__(self, result, *, reference=None, label="model", reference_label="reference"):
        self.result = result
        self.reference = reference
        self.label = label
        self.reference_label = reference_label

    @staticmethod
    def _calculate(atoms, calculator, **options):
        raise NotImplementedError

    @classmethod
    def from_result(cls, result, **options):
        """Draw what was calculated before.

        Parameters
        ----------
        result : object
            As the class takes it.
        **options : dict
            `reference`, `label` and `reference_label` of the class; `ax` or `figure` as `plot` takes it.

        Returns
        -------
        PropertyDisplay
            The display, drawn.
        """
        place = _taken(options, "ax", "figure")
        return cls(result, **options).plot(**place)

    @classmethod
    def from_calculator(cls, calculator, atoms, *, reference=None, **options):
        """Calculate and draw.

        Parameters
        ----------
        calculator : ase calculator, Pipeline, search or None
            As the function that calculates takes it.
        atoms : ase.Atoms
            As that function takes it.
        reference : object
            As the class takes it; or an ASE calculator or a model too, with which the same is calculated.
        **options : dict
            `label` and `reference_label` of the class, `ax` or `figure` as `plot` takes it, and options of the
            function that calculates.

        Returns
        -------
        PropertyDisplay
            The display, drawn.
        """
        shown = _taken(options, "label", "reference_label", "ax", "figure")
        if hasattr(reference, "get_property") or hasattr(reference, "predict"):
            reference = cls._calculate(atoms, reference, **options)
        return cls.from_result(cls._calculate(atoms, calculator, **options), reference=reference, **shown)

    @classmethod
    def from_estimator(cls, estimator, atoms, **options):
        """Calculate with a fitted model and draw.

        Parameters
        ----------
        estimator : Pipeline or search
            A fitted model.
        atoms : ase.Atoms
            As for `from_calculator`.
        **options : dict
            As for `from_calculator`.

        Returns
        -------
        PropertyDisplay
            The display, drawn.
        """
        return cls.from_calculator(estimator, atoms, **options)


def two_of(reference, function, names):
    """The two arrays that a reference is made of.

    Parameters
    ----------
    reference : object
        What was passed.
    function : str
        What returns references of the other kind.
    names : str
        What the two are.

    Returns
    -------
    tuple
        The two.

    Raises
    ------
    TypeError
        If it is not a sequence of two.
    """
    try:
        first, second = reference
    except (TypeError, ValueError) as error:
        raise TypeError(f"reference={reference!r}: must be what {function} returns, or {names}") from error
    return first, second


def _taken(options, *names):
    """Some of the options, which then are no longer among them."""
    return {name: options.pop(name) for name in names if name in options}
