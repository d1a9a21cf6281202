"""Real parts that several tests need: an RTSP server, clips to serve."""
