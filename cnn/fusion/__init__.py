"""The fusion pass: how a list of layers becomes a few passes over memory.

``walking`` makes stages of layers, ``stages`` and ``plain_stages`` run them, ``values`` is what
flows between them, ``memory`` plans where it is, ``program`` puts it together for one batch shape,
and ``programs`` keeps them.
"""
