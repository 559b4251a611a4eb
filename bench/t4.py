"""What makes another GPU stand for a T4."""
import torch

from sounddetect.machine.devices import GPUS


def stand_for_t4():
    """Limit this process to the memory of a T4, and switch off the arithmetic that a T4 does not have."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.cuda.set_per_process_memory_fraction(min(1.0, GPUS["T4"].usable / torch.cuda.get_device_properties(0).total_memory))
