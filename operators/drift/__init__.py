"""What changes in the stream, noticed: buckets of event time, monitors, alarms."""
