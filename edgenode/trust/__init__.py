"""Who is who, and who trusts whom: keys, certificates, pairing. Nothing here opens a connection."""
