"""The nodes around: who is there, a work stream to each, and how they are paired, renewed and shut out."""
