"""In the place of the package itself, which is native code."""


class Connection:
    def cursor(self):
        return self

    def execute(self, *_):
        return None

    def commit(self):
        return None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False


def connect(**_):
    return Connection()
