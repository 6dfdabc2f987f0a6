"""How far every separation method is from known truth, on heads that no network was trained on."""
