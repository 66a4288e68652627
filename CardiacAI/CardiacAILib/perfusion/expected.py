"""What both flow models expect of any muscle: bounds and weak priors of flow and delay."""

import numpy as np

#: s. The input may reach the muscle this much before and after the blood of the cavity: slices are taken at other
#: moments of the beat than the input, and coronaries are short.
DELAYS = (-1.0, 4.0)
#: mL/min/g.
FLOWS = (0.02, 10.0)
#: Flow's own prior is what makes noisy curves tell high flows without bias: their likelihood is skewed towards higher
#: ones, by +0.5 at 4 mL/min/g. Mean, and the standard deviation of the logarithm.
USUAL_FLOW, SPREAD_FLOW = 2.5, 1.6
#: The delay is not expected to be long: mean, standard deviation in s.
USUAL_DELAY, SPREAD_DELAY = 0.8, 0.8
#: Delays that starts are looked up at.
DELAY_NODES = np.arange(DELAYS[0] + 0.1, DELAYS[1], 0.3)
