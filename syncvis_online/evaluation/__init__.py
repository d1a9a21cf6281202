"""Measuring a tracker on labelled videos and photographs."""
