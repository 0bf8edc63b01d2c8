"""The order pipeline end to end, on an emulator of AWS."""
