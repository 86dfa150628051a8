"""The record of one evaluation: schema, strict reading, and storage."""
