"""Routes under `/lbw/v1` for the server of a WebUI and for the studio's own."""
