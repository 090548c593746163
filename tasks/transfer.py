"""Copy under its other name."""

from tasks.copy import Copy


class Transfer(Copy):
    """Copy a layer to another place, as from a disk to S3; the same as `copy`.

    `box` takes a part, `source: name@mip` another mip. How the copy is stored is said by the job: its
    `storage` and the target's `encoding` under `layers`.
    """
