"""The one door for S3 events: raw notifications in, publish tasks out."""
