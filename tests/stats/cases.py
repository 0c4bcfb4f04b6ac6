"""Scores that several tests of the statistics draw from."""

import math

from hypothesis import strategies as st

INF = math.inf
#: numbers with many ties and some failures
SCORES = st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, INF])
