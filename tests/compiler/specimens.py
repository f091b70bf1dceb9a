"""Specs that between them have every op and every statement, for laws that hold for all specs."""

SPECIMENS = {
    "everything elementwise": """
    rule precondition own() {
      state m = zeros(g)
      m <- 0.9 * m + (1 - 0.9) * g
      a = where(m > 0 and not (g < 0), sqrt(abs(m)), -m)
      b = clamp(m, -1, 1) * max(g, 0) + min(m, g, 0) - sign(g)^2
      return a / (1 + b^2) + tanh(m) * exp(-abs(g)) * 1 + 0 * m
    }
    optimizer one(lr = 0.1) { precondition own()  tune step lr * (1 - 0.9) }
    """,
    "reductions and parts": """
    rule precondition own() {
      u = g / norm(g, per = unit) + g * mean(g, per = row) + g / (1 + max(g, per = column)^2)
      return u * min(1, 1 / norm(u)) + sum(w) * g + dot(g, w) * w
    }
    optimizer one() { precondition own()  tune step 0.1  observe norm(u) as length }
    """,
    "loops and choices": """
    rule precondition own(n: int = 3) {
      state count = 0
      state m = zeros(g)
      var x = g
      var i = 0
      if norm(g) > 0.3 { count <- count + 1  m <- m + g } else { m <- 0.5 * m }
      every 2 { m <- m + 0.1 * hvp(g) }
      repeat n while i < 2 + t {
        repeat 2 { x <- 0.5 * x + 0.1 * m }
        i <- i + 1
      }
      return x + 0 + grad(w + 0.1 * g) * 1
    }
    optimizer one() { precondition own()  tune step 0.1  observe precondition.count as seen }
    """.replace("observe precondition.count as seen", "observe loss as seen"),
    "choices by tensor": """
    rule precondition own() {
      state m = zeros(g)
      when ndim >= 2 {
        state v = zeros(g)
        v <- 0.9 * v + g^2
        m <- g / sqrt(v + 1e-8)
      } else {
        m <- g
      }
      return m
    }
    optimizer one() {
      clip global_norm(1.0)
      group matrices where ndim >= 2 { precondition own()  decay weights(0.1)  tune step 0.1 }
      group rest { decay weights(0.1) where size > 1  tune step 0.2 }
    }
    """,
    "spectra and traces": """
    optimizer one(steps: int = 3) {
      tune step 0.1
      observe max(lanczos(hvp, normal(w), 3)) - min(lanczos(d => ggn(d) + d, g, 2)) as spread
      observe lanczos(hvp, g, steps) as spectrum every 2
      observe quadrature(x => 1 / (1 + x^2), of = lanczos(hvp, g, 3)) as mean_of
      observe hutchinson(hvp, 2) + xtrace(hvp, 2) as traces
      observe sum(matrix_function(x => 1 / (1 + x^2), d => hvp(d) + d, w, 2)) as filtered every 2
      observe norm(u, per = tensor) as sizes every 2
      observe feature_alignment(w, 64, 1, true) as aligned
    }
    """,
    "layers": """
    rule precondition own() {
      when g is [rows, cols] {
        state A = eye(rows)
        var B = eye(cols)
        every 2 { A <- A / 2 + fisher_rows() }
        repeat 2 { B <- B + fisher_columns() / 2 }
        return solve(A, g) @ B
      } else {
        return g
      }
    }
    optimizer one() { precondition own() where not path matches "bias"  tune step 0.1 }
    """,
    "what the model measures": """
    rule precondition own() {
      when ndim >= 2 {
        size = measured("largest", per = 1)
        return where(size > 0.5, g / size, measured("largest", per = 0) * g)
      } else {
        return g
      }
    }
    optimizer one() {
      group wide where ndim == 2 view "a b -> b a" { precondition own()  tune step 0.1 }
      group rest { precondition own()  tune step 0.1 }
    }
    """,
    "random fields": """
    rule perturb noise() {
      var total = g
      repeat 2 { total <- total + 0.1 * normal(w) }
      q = uniform()
      return total + 0.01 * q * rademacher(w) + 0.01 * uniform(w) + 0.01 * (normal() - rademacher())
    }
    optimizer one() { perturb noise()  tune step 0.1 }
    """,
    "the same twice": """
    rule precondition own() {
      a = g * g + w * g
      b = w * g + g * g
      h = hvp(g) + hvp(g, at = w)
      return a - b + h * dot(g, hvp(g)) + g * dot(hvp(w), w)
    }
    optimizer one() { precondition own()  tune step 0.1 * dot(u, hvp(u)) / dot(u, hvp(u)) }
    """,
    "histories": """
    rule precondition own(n: int = 2) {
      state window = history(g, n, products = true)
      state steps = history(w, 3)
      state changes: f32 = history(g, n + 1)
      every 2 { window <- push(window, g) }
      steps <- push(steps, 0.1 * g)
      changes <- push(changes, g - 0.5 * w)
      u = inverse_fisher(window, g, 0.1) + inverse_fisher(steps, w, 0.2)
      return u + 0.01 * inverse_hessian(steps, changes, u, 0.5)
    }
    optimizer one(n: int = 2) {
      precondition own(n)
      precondition own(2) where ndim >= 2
      tune step 0.1
      guard finite()
    }
    """,
    "the step as a whole": """
    rule constrain positive() { return max(w_next, -10) }
    optimizer one(n: int = 2) {
      perturb sam(radius = where(ndim >= 2, 0.05, 0))
      accumulate n
      precondition adam()
      tune step 0.1
      decay weights(0.01)
      constrain positive()
      average schedule_free()
      guard finite()
      observe norm(g) as size every 2
    }
    """,
    "turns": """
    rule precondition own(n: int = 3) {
      state nu = zeros(g)
      state scale = ones(g)
      state size = ones(norm(g, per = tensor))
      state start = w
      nu <- 0.9 * nu + g^2
      every n staggered {
        var x = nu
        repeat 2 { x <- x / (1 + norm(x, per = tensor)) }
        if t > 2 { size <- norm(scale, per = tensor) }
        when ndim >= 2 { scale <- 1 / (0.1 + sqrt(x)) } else { scale <- 0.5 * scale + zeros(g) }
        start <- w
      }
      every 2 staggered { nu <- 0.5 * nu }
      return scale * g / (1 + size) + 0.01 * (w - start)
    }
    optimizer one(n: int = 3) {
      precondition own(n)
      precondition own(2) where ndim >= 1
      tune step 0.1
    }
    """,
    "matrices": """
    rule precondition own(rank: int = 2) {
      when g is [.., rows, cols] {
        state L = 0.1 * eye(rows)
        state R: f32 = ones(cols, cols)
        state root = eye(rows)
        state basis = zeros(cols, rank)
        L <- 0.9 * L + g @ g.T / cols
        R <- tril(0.5 * R + g.T @ g) + triu(R).T
        every 2 { root <- inverse_root(L, 4, otherwise = root) }
        if t > 1 { basis <- orthonormal(R @ take(eye(cols), arange(rank), axis = 1)) }
        kept = g.T + basis @ (basis.T @ g.T)
        x = solve(cholesky(L), root @ kept.T, triangular = "lower")
        y = trace(L) / rows * x + matrix_power(L, -0.5) @ polar(g)
        when rows >= cols {
          return solve(L, y, otherwise = y) / (1 + norm(L, per = matrix))
        } else {
          return root @ y
        }
      } else {
        return g
      }
    }
    optimizer one(k: int = 2) { precondition own(rank = k)  tune step 0.1 }
    """,
    "vectors": """
    rule precondition own() {
      when g is [.., rows, cols] {
        state mean = zeros(rows)
        L = g @ g.T + eye(rows)
        d = diag(L)
        state peak = zeros(max(g.T @ g, per = row))
        peak <- 0.5 * peak + max(g.T @ g, per = row)
        mean <- 0.5 * mean + eigenvalues(L) / max(d, per = matrix)
        B = eigenbasis(L)
        f = B @ diag(sqrt(mean)) @ B.T
        u = take(d, argsort(d, descending = true)) + L @ take(mean, argsort(mean), axis = 0)
        v = solve(L, u) / norm(u, per = tensor) + ones(rows) / dot(u, u, per = matrix)
        return f @ g / norm(f) + diag(v) @ g @ (1 / (peak + eye(cols)))
      } else {
        return g
      }
    }
    optimizer one() {
      group lists where ndim < 2 { tune step 0.1 }
      group grids where ndim == 3 view "a b c -> c a b" { precondition own()  tune step 0.1 }
      group rest { precondition own()  tune step 0.1 }
    }
    """,
    "static choices": """
    rule precondition own(mode: bool, n: int) {
      state m = zeros(g)
      when mode { m <- m + g } else { m <- g }
      when n > 100 { error "too many" } else { return m * n + 0 }
    }
    optimizer one(mode: bool = true, n: int = 2) { precondition own(mode, n)  tune step 0.1 }
    """,
}
