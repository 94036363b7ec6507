"""What lies below the models: files, the run's store, secrets, pretrained weights, ranks.

`ranks` knows whether several processes fit one classifier, so that nothing else need look. May
import: `protocols`, `exceptions`, `records`.
"""
