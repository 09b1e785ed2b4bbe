"""Documents come in here: files to text with places, sentences, chunks, retrieval."""
