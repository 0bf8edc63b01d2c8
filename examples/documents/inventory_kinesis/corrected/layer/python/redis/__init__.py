"""In the place of the package itself."""


class Redis:
    def __init__(self, **_):
        pass

    def delete(self, *_):
        return 1
