def record(kind, seed, rows):
    import json

    for row in rows:
        print(json.dumps(row))
