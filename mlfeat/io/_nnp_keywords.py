"""The keywords of n2p2's settings file: what there is, and which parameters they stand for."""

from mlfeat.descriptors._acsf_functions import NARROW, RADIAL, WIDE

ACTIVATIONS = {
    "l": "linear",
    "t": "tanh",
    "s": "logistic",
    "p": "softplus",
    "r": "relu",
    "g": "gaussian",
    "c": "cos",
    "S": "reverse_logistic",
    "e": "exp",
    "h": "harmonic",
}
N_CUTOFF_TYPES = 9
KINDS = {RADIAL: "radial", NARROW: "narrow angular", WIDE: "wide angular"}
OTHER_KINDS = {
    12: "weighted radial",
    13: "weighted angular",
    20: "compact radial",
    21: "compact narrow angular",
    22: "compact wide angular",
    23: "weighted compact radial",
    24: "weighted compact narrow angular",
    25: "weighted compact wide angular",
}

# FeatureScaler's `center` and `scale` that sets of keywords stand for.
SCALINGS = {
    frozenset(): (None, None),
    frozenset({"scale_symmetry_functions"}): ("min", "range"),
    frozenset({"center_symmetry_functions"}): ("mean", None),
    frozenset({"scale_symmetry_functions", "center_symmetry_functions"}): ("mean", "range"),
    frozenset({"scale_symmetry_functions_sigma"}): ("mean", "std"),
}
FLAGS = {keyword for keywords in SCALINGS for keyword in keywords} | {"normalize_nodes"}

# Parameters of NeuralNetworkPotential that keywords set; all numbers.
TRAINING = {
    "epochs": "max_iter",
    "random_seed": "random_state",
    "energy_fraction": "energy_fraction",
    "force_fraction": "force_fraction",
    "rmse_threshold_energy": "energy_threshold",
    "rmse_threshold_force": "force_threshold",
    "rmse_threshold_trials": "threshold_trials",
    "kalman_epsilon": "kalman_epsilon",
    "kalman_q0": "kalman_q0",
    "kalman_qtau": "kalman_q_tau",
    "kalman_qmin": "kalman_q_min",
    "kalman_eta": "kalman_eta",
    "kalman_etatau": "kalman_eta_tau",
    "kalman_etamax": "kalman_eta_max",
    "kalman_lambda_short": "kalman_lambda",
    "kalman_nue_short": "kalman_nu",
    "gradient_adam_eta": "learning_rate",
}
INTEGERS = ("epochs", "random_seed", "rmse_threshold_trials")
KALMAN_TYPES = {"0": "noise", "1": "fading"}
SOLVERS = {"0": "adam", "1": "kalman"}

# Other keywords of training, and of RuNNer's that have no effect on a potential of this kind.
WITHOUT_EFFECT = """
    bond_threshold calculate_forces energy_threshold fitting_unit force_energy_ratio force_update_scaling force_weight
    gradient_adam_beta1 gradient_adam_beta2 gradient_adam_epsilon gradient_eta gradient_type jacobian_mode
    main_error_metric memorize_symfunc_results mix_all_points nguyen_widrow_weights_short normalize_data_set
    optmode_short_energy optmode_short_force parallel_mode points_in_memory precondition_weights random_number_type
    remove_atom_energies repeated_energy_update rmse_threshold rmse_threshold_trials_energy rmse_threshold_trials_force
    runner_mode selection_mode selection_mode_energy selection_mode_force short_force_group task_batch_size_energy
    task_batch_size_force test_fraction update_strategy use_old_weights_short use_short_nn weights_max weights_min
    write_neuronstats write_trainforces write_trainlog write_trainpoints write_weights_epoch
""".split()

READ = {
    "number_of_elements",
    "elements",
    "atom_energy",
    "cutoff_type",
    "symfunction_short",
    "scale_min_short",
    "scale_max_short",
    "global_hidden_layers_short",
    "global_nodes_short",
    "global_activation_short",
    "element_hidden_layers_short",
    "element_nodes_short",
    "element_activation_short",
    "mean_energy",
    "conv_energy",
    "conv_length",
    "nnp_type",
    "use_short_forces",
    "kalman_type",
    "updater_type",
}
SYNONYMS = {
    "nnp_generation": "nnp_type",
    "nnp_type_gen": "nnp_type",
    "nnp_gen": "nnp_type",
    "symfunction": "symfunction_short",
    "short_energy_error_threshold": "rmse_threshold_energy",
    "short_force_error_threshold": "rmse_threshold_force",
    "short_energy_fraction": "energy_fraction",
    "short_force_fraction": "force_fraction",
}
MANY = {
    "symfunction_short",
    "atom_energy",
    "element_hidden_layers_short",
    "element_nodes_short",
    "element_activation_short",
}
REFUSED = {
    "global_symfunction_short": "is RuNNer's; write each function as a line symfunction_short, as n2p2 needs it",
    "element_symfunction_short": "is RuNNer's; write each function as a line symfunction_short, as n2p2 needs it",
}
_CHARGES = "is of potentials with charges, nnp_type 4G-HDNNP and others, which cannot be read"
REFUSED |= dict.fromkeys(
    """
    conv_charge ewald_prec ewald_truncation_error_method fixed_gausswidth four_pi_epsilon
    global_activation_electrostatic global_hidden_layers_electrostatic global_nodes_electrostatic
    element_activation_electrostatic element_hidden_layers_electrostatic element_nodes_electrostatic initial_hardness
    screen_electrostatics use_atom_charges
    """.split(),
    _CHARGES,
)
