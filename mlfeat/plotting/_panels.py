"""What displays with a row of panels share: where they are drawn, and their legend."""

import numpy as np

from mlfeat.plotting._style import add_grid, legend_entries


class PanelDisplay:
    """Base of displays with a row of panels, one a quantity.

    A subclass says in `_panels` what has a panel, draws one of these in `_draw`, and has the `_size` of a panel, width
    and height in inches.
    """

    def _panels(self):
        raise NotImplementedError

    def _draw(self, ax, panel):
        raise NotImplementedError

    def plot(self, *, title="", figure=None, axes=None):
        """Draw.

        Parameters
        ----------
        title : str, default=""
            Title of the figure.
        figure : matplotlib.figure.Figure or None, default=None
            Where to draw; None makes a figure with pyplot.
        axes : sequence of matplotlib.axes.Axes or None, default=None
            Where to draw instead, one for each quantity; they may belong to figures of their own.

        Returns
        -------
        PanelDisplay
            Itself.

        Raises
        ------
        ValueError
            If there are not as many axes as panels.
        """
        panels = self._panels()
        if axes is None:
            self.figure_, self.axes_ = self._make_axes(title, figure, len(panels))
        else:
            self.axes_ = np.ravel(axes)
            if len(self.axes_) != len(panels):
                raise ValueError(f"there are {len(self.axes_)} axes for {len(panels)} panels")
            self.figure_ = self.axes_[0].figure
        for ax, panel in zip(self.axes_, panels, strict=True):
            self._draw(ax, panel)
            add_grid(ax)
        self._add_legend(legend_entries(self.axes_), in_own_figure=axes is None)
        return self

    def _make_axes(self, title, figure, n_panels):
        if figure is None:
            from matplotlib import pyplot  # only here: pyplot chooses a backend when imported

            figure = pyplot.figure()
        width, height = self._size
        figure.set_size_inches(width * n_panels, height)
        figure.set_layout_engine("constrained")
        if title:
            figure.suptitle(title)
        return figure, figure.subplots(1, n_panels, squeeze=False)[0]

    def _add_legend(self, entries, *, in_own_figure):
        """One legend below all panels; axes of others are left without."""
        if not entries or not in_own_figure:
            return None
        style = {"ncols": min(len(entries), 6), "frameon": False}
        return self.figure_.legend(entries.values(), entries, loc="outside lower center", **style)
