"""How long a pass takes on a device, without the device: kernel by kernel, from facts and figures of a datasheet.

`predict_latency` is all that others need. The kernels of an op are in `works`, what a device can do in `rates`, the
time of one kernel in `kernels` and of an op in `times`, what the host and the launches add in `launches`, the ops of a
pass in `passes`, and how sure all that is in `spread`.
"""

from archprof.predicting.latency.predict import predict_latency

__all__ = ["predict_latency"]
