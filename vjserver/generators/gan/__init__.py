"""GANs: StyleGAN2 and 3 and BigGAN-deep, whose latents the music moves."""
