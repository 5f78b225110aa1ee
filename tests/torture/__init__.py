"""The torture room: what always holds, tried by kills, power cuts, damage, full disks and hostile clients."""
