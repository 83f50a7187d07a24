# Times flexmix inside R, after it is loaded and warm. Called by peers.py:
#   Rscript flexmix.R DATA.csv iterate FEW MANY     seconds of FEW and of MANY iterations from the posteriors p1, p2
#   Rscript flexmix.R DATA.csv default              seconds and log-likelihood of a fit with defaults
suppressMessages(library(flexmix))

arguments <- commandArgs(trailingOnly = TRUE)
data <- read.csv(arguments[1])
start <- as.matrix(data[c("p1", "p2")])
colnames(start) <- NULL

fit <- function(rows, ...) flexmix(y ~ x, data = rows, k = 2, concomitant = FLXPmultinom(~x), ...)

# A tolerance of zero is never undercut; no component is dropped.
iterate <- function(n) {
  fit(data, cluster = start, control = list(iter.max = n, tolerance = 0, minprior = 0))
}

elapsed <- function(expression) system.time(expression)[["elapsed"]]

invisible(fit(head(data, 500), cluster = start[seq_len(min(500, nrow(data))), ]))
if (arguments[2] == "iterate") {
  cat(elapsed(iterate(as.integer(arguments[3]))), elapsed(iterate(as.integer(arguments[4]))), "\n")
} else {
  set.seed(0)
  time <- elapsed(model <- fit(data))
  cat(time, format(as.numeric(logLik(model)), digits = 15), "\n")
}
