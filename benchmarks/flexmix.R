# Times flexmix inside R, after it is loaded and warm. Called by peers.py:
#   Rscript flexmix.R DATA.csv iterate FEW MANY     seconds of FEW and of MANY iterations from the posteriors p1, p2
#   Rscript flexmix.R DATA.csv counts FEW MANY      the same with Poisson experts
#   Rscript flexmix.R DATA.csv default ENOUGH       seconds and log-likelihood of up to five fits with defaults, one
#                                                   after the other until they took ENOUGH seconds
suppressMessages(library(flexmix))

arguments <- commandArgs(trailingOnly = TRUE)
data <- read.csv(arguments[1])
start <- as.matrix(data[c("p1", "p2")])
colnames(start) <- NULL

family <- if (arguments[2] == "counts") "poisson" else "gaussian"
fit <- function(rows, ...) {
  flexmix(y ~ x, data = rows, k = 2, concomitant = FLXPmultinom(~x), model = FLXMRglm(family = family), ...)
}

# A tolerance of zero is never undercut; no component is dropped.
iterate <- function(n) {
  fit(data, cluster = start, control = list(iter.max = n, tolerance = 0, minprior = 0))
}

elapsed <- function(expression) system.time(expression)[["elapsed"]]

invisible(fit(head(data, 500), cluster = start[seq_len(min(500, nrow(data))), ]))
if (arguments[2] != "default") {
  cat(elapsed(iterate(as.integer(arguments[3]))), elapsed(iterate(as.integer(arguments[4]))), "\n")
} else {
  total <- 0
  for (seed in 0:4) {
    set.seed(seed)
    time <- elapsed(model <- fit(data))
    cat(time, format(as.numeric(logLik(model)), digits = 15), "\n")
    total <- total + time
    if (total > as.numeric(arguments[3])) break
  }
}
